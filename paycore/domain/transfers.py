"""The commands that move money and the outcomes that they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, NewType

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError
from paycore.domain.money import Currency, Minor
from paycore.domain.position import Position
from paycore.domain.sealed import SealedDetails, SubjectKey, Unreadable
from paycore.domain.step_up import Authorization

TransferId = NewType("TransferId", int)


class TransferKind(StrEnum):
    """Why money moves; which accounts a kind may touch is in `rules.ENDPOINTS`."""

    TRANSFER = "TRANSFER"
    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    HOLD = "HOLD"
    CAPTURE = "CAPTURE"
    RELEASE = "RELEASE"
    REFUND = "REFUND"
    REVERSAL = "REVERSAL"
    FEE = "FEE"
    NET_SETTLEMENT = "NET_SETTLEMENT"


class TransferState(StrEnum):
    """Where a transfer stands, as readers see it."""

    POSTED = "POSTED"
    FAILED = "FAILED"
    HELD = "HELD"
    PARTIALLY_CAPTURED = "PARTIALLY_CAPTURED"
    CAPTURED = "CAPTURED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    REFUNDED = "REFUNDED"
    REVERSED = "REVERSED"
    ROLLED_BACK = "ROLLED_BACK"


def first_state(kind: TransferKind) -> TransferState:
    """The state in which a transfer of `kind` is posted, before anything follows it."""
    return TransferState.HELD if kind is TransferKind.HOLD else TransferState.POSTED


class StepUpBasis(StrEnum):
    """On what ground a transfer was let through, recorded with it."""

    AUTHORIZED = "AUTHORIZED"
    BELOW_THRESHOLD = "BELOW_THRESHOLD"
    CLIENT_EXEMPT = "CLIENT_EXEMPT"
    NOT_APPLICABLE = "NOT_APPLICABLE"


@dataclass(frozen=True, slots=True)
class Details:
    """Personal data of a transfer, stored apart from it, and never printed. Empty strings stand for
    absent."""

    user_id: str = ""
    device_id: str = ""
    ip_address: str = ""
    description: str = ""
    metadata: Mapping[str, str] | None = None
    keys: tuple[SubjectKey, ...] = field(default=(), repr=False, compare=False)
    """Those under which they are to be stored, where they are to be stored."""

    def __repr__(self) -> str:
        return "Details(***)"


StoredDetails = Details | SealedDetails | Unreadable
"""Personal data as it was found: open, sealed, or not to be had."""


class RiskDecision(StrEnum):
    """What a check before the posting says of a payment."""

    APPROVE = "APPROVE"
    DECLINE = "DECLINE"
    REVIEW = "REVIEW"
    """Post it as a hold, for someone to approve or refuse."""


class RiskVerdict(NamedTuple):
    """A decision and the rule that led to it; no rule where all is well.

    `ticket` is for whoever keeps account of what was let through, until the outcome is told;
    nothing is decided by it.
    """

    decision: RiskDecision
    rule: str = ""
    ticket: int | None = None


class TransferCommand(NamedTuple):
    """A request to move or hold money: shape already validated, amounts in minor units.

    `request_hash` covers the business fields (see `idempotency`), `details_hash` the personal ones.
    `authorization` was verified against the signing service's key and this payment's digest.
    `expires_at_us` is set for a HOLD; `risk` where the payment was judged. The items of a group
    have neither key nor hash of their own: empty.
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
    expires_at_us: int | None = None
    risk: RiskVerdict | None = None


class ChildCommand(NamedTuple):
    """A request to capture, release, refund or reverse transfer `parent`.

    The accounts and the currency of the child follow from the parent, which never changes; they
    were resolved before. `amount` None means all that is left. `final` ends a hold with a capture.
    `review` tells that the command settles a review rather than a hold of its client.
    `released_as` is the state in which a RELEASE leaves a hold whose time is not yet up.
    """

    client: str
    key: str
    request_hash: bytes
    kind: TransferKind
    parent: TransferId
    debit_account: AccountId
    credit_account: AccountId
    currency: Currency
    amount: Minor | None = None
    asked_currency: Currency | None = None
    """The currency that the caller named with the amount."""
    final: bool = True
    review: bool = False
    released_as: TransferState = TransferState.RELEASED
    reference: str | None = None
    details: Details | None = None
    details_hash: bytes | None = None


class GroupCommand(NamedTuple):
    """A request to post `items` in their order, all or none, under one key.

    `authorizations` are by the account that pays; each was verified against the signing service's
    key. The items have none of their own.
    """

    client: str
    key: str
    request_hash: bytes
    items: tuple[TransferCommand, ...]
    authorizations: tuple[tuple[AccountId, Authorization], ...] = ()


Command = TransferCommand | ChildCommand | GroupCommand


def accounts_of(command: Command) -> frozenset[AccountId]:
    """The accounts that `command` may change or depends on."""
    if isinstance(command, GroupCommand):
        return frozenset(
            side for item in command.items for side in (item.debit_account, item.credit_account)
        )
    return frozenset((command.debit_account, command.credit_account))


class Transfer(NamedTuple):
    """One immutable movement: both legs, both accounts' versions and balances after it.

    HOLD and RELEASE move nothing: they have no entry on the credited account. The fields from
    `parent_id` on are those of a transfer that follows another, of a hold, or of a group.
    """

    id: TransferId
    debit_account: AccountId
    credit_account: AccountId
    amount: Minor
    debit_version: int
    credit_version: int | None
    debit_balance_after: Minor
    credit_balance_after: Minor | None
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
    parent_id: TransferId | None = None
    parent_sequence: int | None = None
    parent_remaining: Minor | None = None
    parent_state: TransferState | None = None
    released: Minor | None = None
    expires_at_us: int | None = None
    group_id: int | None = None
    review: str | None = None

    @property
    def state(self) -> TransferState:
        """The state that it was posted in; what became of it later its latest child says."""
        return first_state(self.kind)


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
    parent_id: TransferId | None = None
    group_id: int | None = None
    """Set when a whole group was refused; the other fields tell of its first item that failed."""


_PAYERS_OWN = frozenset({"available", "shortfall", "remaining"})


def shown_figures(figures: Mapping[str, str], *, payer_readable: bool) -> Mapping[str, str]:
    """A decline's figures for one asker: what the payer has only to who may read it."""
    if payer_readable:
        return figures
    return {name: figure for name, figure in figures.items() if name not in _PAYERS_OWN}


class Visibility(NamedTuple):
    """Which of a transfer's accounts the asking client may read."""

    debit: bool
    credit: bool


@dataclass(slots=True)
class Posted:
    """The command moved money, now or (replayed) when its key was first used."""

    transfer: Transfer
    details: StoredDetails | None
    visible: Visibility
    replayed: bool = False
    position: Position | None = None


@dataclass(slots=True)
class GroupPosted:
    """All transfers of a group were posted, in its order, now or (replayed) earlier."""

    id: int
    transfers: list[Posted]
    replayed: bool = False
    position: Position | None = None


@dataclass(slots=True)
class Declined:
    """The ledger refused and remembers it, now or (replayed) when the key was first used."""

    decline: Decline
    details: StoredDetails | None
    payer_readable: bool
    """Whether the asking client may read the debited account, and so learn what it has."""
    replayed: bool = False
    position: Position | None = None


@dataclass(slots=True)
class Refused:
    """Not decided for good: nothing was written, a retry is decided afresh."""

    error: PaycoreError


Outcome = Posted | GroupPosted | Declined | Refused
