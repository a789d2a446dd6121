"""What goes in and comes out of the client: plain values, no protobuf.

Amounts are integers in minor units of their currency, times are aware datetimes in UTC to the
microsecond, positions are opaque texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

from paycore.client.errors import RefusedError
from paycore.domain.accounts import AccountKind, AccountStatus
from paycore.domain.device_key import DeviceSignature
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.pin import SealedPin
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import StepUpBasis, TransferKind, TransferState

AccountName = int | ExternalIdentifier
"""An account by its id, or by a name of the world outside that it was linked to."""

_NOTHING: Mapping[str, str] = MappingProxyType({})
Receipt = TypeVar("Receipt", bound="AccountReceipt | TransferReceipt")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (cents, yen, fils) of an ISO 4217 currency."""

    minor_units: int
    currency: str


@dataclass(frozen=True, slots=True)
class Actor:
    """The end user in whose name a request is made. Personal data."""

    user_id: str = ""
    device_id: str = ""
    ip_address: str = ""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to open. Without `idempotency_key` the client makes one.

    `overdraft_limit` is in minor units; `metadata` is personal data and may be erased later.
    """

    owner: str
    institution: str
    currency: str
    kind: AccountKind = AccountKind.CUSTOMER
    overdraft_limit: int = 0
    metadata: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    actor: Actor | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it stood in the primary when the reply was made; figures in minor units."""

    id: int
    owner: str
    institution: str
    currency: str
    kind: AccountKind
    status: AccountStatus
    balance: int
    held: int
    overdraft_limit: int
    available: int
    version: int
    revision: int
    opened_by: str
    created_at: datetime
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TransferOrder:
    """Money to move. Without `idempotency_key` the client makes one.

    `description`, `metadata` and `actor` are personal data and may be erased later.
    """

    debit_account: AccountName
    credit_account: AccountName
    amount: Money
    kind: TransferKind = TransferKind.TRANSFER
    reference: str = ""
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    actor: Actor | None = None
    effective_at: datetime | None = None
    expected_debit_version: int | None = None
    expected_credit_version: int | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class HoldOrder:
    """Money to set aside for `credit_account` until `expires_at`, at most 366 days ahead."""

    debit_account: AccountName
    credit_account: AccountName
    amount: Money
    expires_at: datetime
    reference: str = ""
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    actor: Actor | None = None
    effective_at: datetime | None = None
    expected_debit_version: int | None = None
    idempotency_key: str | None = None

    @property
    def kind(self) -> TransferKind:
        """What the payer approves."""
        return TransferKind.HOLD


@dataclass(frozen=True, slots=True)
class Note:
    """What may be said of a capture, release or refund; personal data but for `reference`."""

    reference: str = ""
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    actor: Actor | None = None


@dataclass(frozen=True, slots=True)
class Decline:
    """Why a stored refusal was made, with the figures of that moment."""

    reason: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Transfer:
    """One movement of money, or (state FAILED) the record of a refusal, which moved none.

    A balance, and what is held, is None where the caller may not read the account; versions are 0
    in a refusal, and so is `credit_version` of what moves nothing. Figures are in minor units.
    """

    id: int
    kind: TransferKind
    state: TransferState
    debit_account: int
    credit_account: int
    amount: Money
    debit_version: int
    credit_version: int
    debit_balance_after: int | None
    credit_balance_after: int | None
    client: str
    reference: str
    step_up_basis: StepUpBasis | None
    authorization_id: int | None
    created_at: datetime
    effective_at: datetime | None
    description: str
    metadata: Mapping[str, str]
    actor: Actor | None
    decline: Decline | None
    debit_held_after: int | None = None
    remaining: int | None = None
    """What is left to be captured (a hold) or refunded; None where nothing followed a payment."""
    parent_id: int | None = None
    """The transfer that this one captures, releases, refunds or reverses."""
    parent_sequence: int | None = None
    """Its place, from 1, among all that followed its parent."""
    parent_remaining: int | None = None
    parent_state: TransferState | None = None
    """The state in which it put its parent."""
    released: int | None = None
    """What a capture that ended its hold set free."""
    expires_at: datetime | None = None
    """From when on a hold cannot be captured."""
    group_id: int | None = None
    review_rule: str = ""
    """The rule for which a payment was held for review."""
    unreadable: Unreadable | None = None
    """Why `description`, `metadata` and `actor` are empty though there was something in them."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A subject was erased. Zero for what had been erased, or never was there."""

    erased_at: datetime
    destroyed_keys: int
    cleared_accounts: int
    """Accounts whose metadata was removed."""
    position: str


@dataclass(frozen=True, slots=True)
class AccountReceipt:
    """An account was opened or changed; `replayed` when an earlier request with the key did it."""

    account: Account
    idempotency_key: str
    position: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class TransferReceipt:
    """Money moved; `replayed` when it was an earlier request with the key that moved it."""

    transfer: Transfer
    idempotency_key: str
    position: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class GroupReceipt:
    """All transfers of a group moved, in its order."""

    group: int
    transfers: tuple[Transfer, ...]
    idempotency_key: str
    position: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """One item of a bulk request that was refused. `position` is empty when nothing was stored."""

    error: RefusedError
    idempotency_key: str
    position: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class BulkReceipt(Generic[Receipt]):
    """Outcomes in the order of the request, and the latest position among them."""

    outcomes: tuple[Receipt | RefusedItem, ...]
    position: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far the source of an answer had come: everything up to `position` is in it."""

    source: str
    position: str
    lag: timedelta | None
    """How far behind the ledger the source was at most; None: it has not said."""
    complete_from: datetime | None = None
    """The answer lacks some of what was before; None: nothing is missing."""


@dataclass(frozen=True, slots=True)
class TransferView:
    """A transfer as the read side shows it."""

    transfer: Transfer
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class TransferFilter:
    """Which transfers of an account to list; bounds on the amount are inclusive, in minor units.

    `start` is inclusive, `end` exclusive. `counterparty` is the other account.
    """

    account: AccountName
    start: datetime | None = None
    end: datetime | None = None
    kinds: tuple[TransferKind, ...] = ()
    counterparty: AccountName | None = None
    min_amount: int | None = None
    max_amount: int | None = None
    reference: str = ""
    include_declines: bool = False


@dataclass(frozen=True, slots=True)
class TotalCount:
    """How many match; more, where `at_least`."""

    count: int
    at_least: bool


@dataclass(frozen=True, slots=True)
class TransferPage:
    """One page, newest first. `next_page_token` is empty on the last one, `total` is None where it
    was not asked for."""

    transfers: tuple[Transfer, ...]
    next_page_token: str
    freshness: Freshness
    total: TotalCount | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """A balance as the read side shows it, at entry `version`; figures in minor units.

    At a past time `available` is None: what the overdraft limit was then is not known.
    """

    account: int
    balance: Money
    held: int
    available: int | None
    version: int
    freshness: Freshness


class Interval(StrEnum):
    """Width of a bucket of volume."""

    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"


@dataclass(frozen=True, slots=True)
class VolumeBucket:
    """What moved in one interval, per currency and kind; `total` is exact and may exceed int64."""

    start: datetime
    kind: TransferKind
    currency: str
    count: int
    total: int


@dataclass(frozen=True, slots=True)
class Volume:
    """Buckets by time, currency, kind; intervals without transfers are left out."""

    buckets: tuple[VolumeBucket, ...]
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class Counterparty:
    """What one account exchanged with another."""

    account: int
    count: int
    sent: Money
    received: Money


@dataclass(frozen=True, slots=True)
class Counterparties:
    """The largest first, both directions added."""

    counterparties: tuple[Counterparty, ...]
    freshness: Freshness


class KeyPurpose(StrEnum):
    """What a public key of the signing service is for."""

    SEALING = "SEALING"
    AUTHORIZATION = "AUTHORIZATION"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key of the signing service: 32 raw bytes of X25519 or Ed25519."""

    key_id: str
    purpose: KeyPurpose
    public_key: bytes
    current: bool


@dataclass(frozen=True, slots=True)
class StepUpProof:
    """The payer's approval of one payment: a PIN sealed to the payment's digest, or the signature
    of an enrolled device over it.

    Good for one payment under one idempotency key, within two minutes of `signed_at_us`
    (microseconds since 1970, the payer's clock).
    """

    signed_at_us: int
    approval: SealedPin | DeviceSignature
