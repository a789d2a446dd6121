"""The commands that open and change accounts, and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.errors import PaycoreError
from paycore.domain.money import Currency, Minor
from paycore.domain.position import Position
from paycore.domain.transfers import Details


class OpenAccount(NamedTuple):
    """A request to open an account; the limit is in minor units."""

    client: str
    key: str
    request_hash: bytes
    owner: str
    institution: str
    currency: Currency
    kind: AccountKind
    overdraft_limit: Minor


class ChangeStatus(NamedTuple):
    """A request to freeze, close or reactivate an account. `actor` goes to the audit."""

    client: str
    key: str
    request_hash: bytes
    account: AccountId
    status: AccountStatus
    expected_revision: int | None
    reason: str
    actor: Details


@dataclass(slots=True)
class AccountStored:
    """The account as it stood after the command, now or (replayed) when its key was first used."""

    account: Account
    position: Position | None
    replayed: bool
    readable: bool
    """Whether the asking client may see its figures."""


@dataclass(slots=True)
class AccountRefused:
    """Nothing was written."""

    error: PaycoreError


AccountOutcome = AccountStored | AccountRefused
