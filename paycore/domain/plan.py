"""What a batch is decided from, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from paycore.domain.accounts import Account, AccountId
from paycore.domain.money import Minor
from paycore.domain.position import Position
from paycore.domain.step_up import Authorization
from paycore.domain.transfers import Decline, Details, Outcome, Transfer, TransferId

Key = tuple[str, str]
"""Client and idempotency key."""


class StoredOutcome(NamedTuple):
    """What an earlier use of a key left: no row when the key belongs to another kind of command."""

    request_hash: bytes
    row: Transfer | Decline | None
    details: Details | None
    position: Position


@dataclass(frozen=True, slots=True)
class BatchState:
    """What was read, under lock, for one batch."""

    accounts: Mapping[AccountId, Account]
    stored: Mapping[Key, StoredOutcome]


class KeyRow(NamedTuple):
    """An idempotency key to write."""

    client: str
    key: str
    outcome_id: TransferId
    declined: bool
    request_hash: bytes


class AccountUpdate(NamedTuple):
    """New figures of an account, guarded by the version and revision that they were made from."""

    id: AccountId
    version_read: int
    revision_read: int
    balance: Minor
    version: int
    last_entry_us: int


class AuthorizationRow(NamedTuple):
    """An authorization to store with its transfer."""

    transfer_id: TransferId
    client: str
    key: str
    authorization: Authorization


@dataclass(slots=True)
class Plan:
    """The outcome of each command, in order, and all rows to write for them."""

    outcomes: list[Outcome] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    declines: list[Decline] = field(default_factory=list)
    details: list[tuple[TransferId, Details]] = field(default_factory=list)
    authorizations: list[AuthorizationRow] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)
    accounts: list[AccountUpdate] = field(default_factory=list)
