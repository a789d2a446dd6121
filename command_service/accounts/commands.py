"""The commands that open and change accounts, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.errors import PaycoreError
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.money import Currency, Minor
from paycore.domain.position import Position
from paycore.domain.transfers import Details

Metadata = Mapping[str, str]
NO_METADATA: Metadata = MappingProxyType({})


class OpenAccount(NamedTuple):
    """A request to open an account; the limit is in minor units. `actor` goes to the audit."""

    client: str
    key: str
    request_hash: bytes
    owner: str
    institution: str
    currency: Currency
    kind: AccountKind
    overdraft_limit: Minor
    metadata: Metadata = NO_METADATA
    actor: Details = Details()


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


class SetLimit(NamedTuple):
    """A request to let an account go `limit` minor units below zero. `actor` goes to the audit."""

    client: str
    key: str
    request_hash: bytes
    account: AccountId
    limit: Minor
    expected_revision: int | None
    reason: str
    actor: Details


class LinkIdentifier(NamedTuple):
    """A request to give an account a name of the world outside. `actor` goes to the audit."""

    client: str
    key: str
    request_hash: bytes
    account: AccountId
    identifier: ExternalIdentifier
    actor: Details


AccountChange = ChangeStatus | SetLimit | LinkIdentifier
AccountCommand = OpenAccount | AccountChange


@dataclass(slots=True)
class AccountStored:
    """The account as it stood after the command, now or (replayed) when its key was first used."""

    account: Account
    metadata: Metadata
    position: Position | None
    replayed: bool
    readable: bool
    """Whether the asking client may see its figures and metadata."""


@dataclass(slots=True)
class AccountRefused:
    """Nothing was written."""

    error: PaycoreError


AccountOutcome = AccountStored | AccountRefused
