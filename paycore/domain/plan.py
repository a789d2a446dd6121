"""What a batch is decided from, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from paycore.domain.accounts import Account, AccountId
from paycore.domain.past import NOTHING_READ, PastRead
from paycore.domain.position import Position
from paycore.domain.step_up import Authorization
from paycore.domain.transfers import (
    Decline,
    Details,
    Outcome,
    StoredDetails,
    Transfer,
    TransferId,
    TransferState,
)

Key = tuple[str, str]
"""Client and idempotency key."""


class StoredGroup(NamedTuple):
    """A group that was posted: its transfers in order, with their personal data."""

    id: int
    transfers: tuple[tuple[Transfer, StoredDetails | None], ...]


class StoredOutcome(NamedTuple):
    """What an earlier use of a key left: no row when the key belongs to another kind of command."""

    request_hash: bytes
    row: Transfer | Decline | StoredGroup | None
    details: StoredDetails | None
    position: Position


class ParentState(NamedTuple):
    """A transfer that others may follow, and how it stands after the latest of those that did."""

    transfer: Transfer
    children: int
    """How many followed it: the sequence of the latest."""
    remaining: int
    """What is left to be captured or refunded, in minor units."""
    state: TransferState


@dataclass(frozen=True, slots=True)
class BatchState:
    """What was read, under lock, for one batch."""

    accounts: Mapping[AccountId, Account]
    stored: Mapping[Key, StoredOutcome]
    parents: Mapping[TransferId, ParentState] = field(default_factory=dict)
    clock_us: int = 0
    """The database's clock at the time, in microseconds since 1970; not read, 0, for commands of
    which none releases a hold: nothing expires by it."""
    past: PastRead = NOTHING_READ
    """What payers did before, where policy hangs on it (`wanted_past`)."""


class OutcomeKind(StrEnum):
    """What a key stands for, of those that a posting stores."""

    TRANSFER = "TRANSFER"
    DECLINE = "DECLINE"
    GROUP = "GROUP"


class KeyRow(NamedTuple):
    """An idempotency key to write."""

    client: str
    key: str
    outcome_id: int
    outcome: OutcomeKind
    request_hash: bytes


class GroupRow(NamedTuple):
    """A group to write: its transfers in order."""

    id: int
    created_at_us: int
    client: str
    transfers: tuple[TransferId, ...]


class AuthorizationRow(NamedTuple):
    """An authorization to store: with its transfer, or with its group and the account that paid."""

    transfer_id: TransferId | None
    client: str
    key: str
    authorization: Authorization
    group_id: int | None = None
    payer: AccountId | None = None


@dataclass(slots=True)
class Plan:
    """The outcome of each command, in order, and all rows to write for them.

    There are none for accounts: the tables apply each transfer to its accounts, and refuse one that
    does not follow on them.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    declines: list[Decline] = field(default_factory=list)
    details: list[tuple[TransferId, Details]] = field(default_factory=list)
    authorizations: list[AuthorizationRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)
