"""The commands that move money and the outcomes that they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, NewType

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError
from paycore.domain.money import Currency, Minor
from paycore.domain.position import Position
from paycore.domain.step_up import Authorization

TransferId = NewType("TransferId", int)


class TransferKind(StrEnum):
    """Why money moves; which accounts a kind may touch is in `planning.ENDPOINTS`."""

    TRANSFER = "TRANSFER"
    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"


class TransferState(StrEnum):
    """Where a transfer stands, as readers see it."""

    POSTED = "POSTED"
    FAILED = "FAILED"


class StepUpBasis(StrEnum):
    """On what ground a transfer was let through, recorded with it."""

    AUTHORIZED = "AUTHORIZED"
    BELOW_THRESHOLD = "BELOW_THRESHOLD"
    CLIENT_EXEMPT = "CLIENT_EXEMPT"
    NOT_APPLICABLE = "NOT_APPLICABLE"


@dataclass(frozen=True, slots=True)
class Details:
    """Personal data of a transfer, stored apart from it. Empty strings stand for absent."""

    user_id: str = ""
    device_id: str = ""
    ip_address: str = ""
    description: str = ""
    metadata: Mapping[str, str] | None = None


class TransferCommand(NamedTuple):
    """A request to move money: shape already validated, amounts in minor units.

    `request_hash` covers the business fields (see `idempotency`), `details_hash` the personal ones.
    `authorization` was verified against the signing service's key and this payment's digest.
    """

    client: str
    key: str
    request_hash: bytes
    kind: TransferKind
    debit_account: AccountId
    credit_account: AccountId
    amount: Minor
    currency: Currency
    reference: str | None = None
    details: Details | None = None
    details_hash: bytes | None = None
    effective_at_us: int | None = None
    expected_debit_version: int | None = None
    expected_credit_version: int | None = None
    authorization: Authorization | None = None


class Transfer(NamedTuple):
    """One immutable movement: both legs, both accounts' versions and balances after it."""

    id: TransferId
    debit_account: AccountId
    credit_account: AccountId
    amount: Minor
    debit_version: int
    credit_version: int
    debit_balance_after: Minor
    credit_balance_after: Minor
    debit_held_after: Minor
    created_at_us: int
    effective_at_us: int | None
    authorization_id: int | None
    kind: TransferKind
    step_up: StepUpBasis
    currency: Currency
    client: str
    reference: str | None
    details_hash: bytes | None


class Decline(NamedTuple):
    """A refusal that the ledger remembers: the same key gets the same refusal again."""

    id: TransferId
    debit_account: AccountId
    credit_account: AccountId
    amount: Minor
    created_at_us: int
    effective_at_us: int | None
    kind: TransferKind
    currency: Currency
    client: str
    reason: str
    figures: Mapping[str, str]
    reference: str | None
    details_hash: bytes | None


def shown_figures(figures: Mapping[str, str], *, payer_readable: bool) -> Mapping[str, str]:
    """A decline's figures for one asker: what is available only to who may read the payer."""
    if payer_readable:
        return figures
    return {name: figure for name, figure in figures.items() if name != "available"}


class Visibility(NamedTuple):
    """Which of a transfer's accounts the asking client may read."""

    debit: bool
    credit: bool


@dataclass(slots=True)
class Posted:
    """The command moved money, now or (replayed) when its key was first used."""

    transfer: Transfer
    details: Details | None
    visible: Visibility
    replayed: bool = False
    position: Position | None = None


@dataclass(slots=True)
class Declined:
    """The ledger refused and remembers it, now or (replayed) when the key was first used."""

    decline: Decline
    details: Details | None
    payer_readable: bool
    """Whether the asking client may read the debited account, and so learn what it has."""
    replayed: bool = False
    position: Position | None = None


@dataclass(slots=True)
class Refused:
    """Not decided for good: nothing was written, a retry is decided afresh."""

    error: PaycoreError


Outcome = Posted | Declined | Refused
