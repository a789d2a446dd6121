"""What readers return. Amounts are minor units of the record's currency, times microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from paycore.domain.accounts import AccountId
from paycore.domain.money import Currency, Minor
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import StepUpBasis, TransferId, TransferKind, TransferState


class Side(NamedTuple):
    """Who holds one of a transfer's accounts; empty where a decline's account is unknown."""

    opened_by: str
    institution: str


class TransferRecord(NamedTuple):
    """A transfer or a stored decline. A tuple, not a dataclass: a page makes hundreds of them."""

    id: TransferId
    kind: TransferKind
    state: TransferState
    debit_account: AccountId
    credit_account: AccountId
    debit_side: Side
    credit_side: Side
    amount: Minor
    currency: Currency
    debit_version: int
    """Zero in a decline, like `credit_version`."""
    credit_version: int
    """Zero for what moves nothing, too."""
    debit_balance_after: Minor | None
    """None in a decline, and where the viewer may not read the account."""
    credit_balance_after: Minor | None
    debit_held_after: Minor | None
    remaining: Minor | None
    """What is left to be captured or refunded; None where nothing followed, but of a hold."""
    parent_id: int
    """Zero for none, like `parent_sequence` and `group_id`."""
    parent_sequence: int
    parent_remaining: Minor | None
    parent_state: TransferState | None
    released: Minor | None
    expires_at_us: int | None
    group_id: int
    review: str
    """The rule for which a payment was held; empty where the viewer is not of the payer's side."""
    client: str
    reference: str
    step_up: StepUpBasis | None
    authorization_id: int
    """Zero where no authorization is stored."""
    created_at_us: int
    effective_at_us: int | None
    description: str
    metadata: Mapping[str, str]
    user_id: str
    device_id: str
    ip_address: str
    unreadable: Unreadable | None
    """Why these five are empty though there was something in them."""
    decline_reason: str
    decline_figures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """An account with its figures at `version`."""

    id: AccountId
    currency: Currency
    opened_by: str
    institution: str
    balance: Minor
    held: Minor
    overdraft_limit: Minor
    version: int


class PastBalance(NamedTuple):
    """An account's figures after its last entry at or before a time; zeros before its first."""

    version: int
    balance: Minor
    held: Minor


class EntryRecord(NamedTuple):
    """One transfer as an entry of one account."""

    transfer: TransferId
    version: int
    created_at_us: int
    kind: TransferKind
    counterparty: AccountId
    change: int
    """What it did to the balance: positive for a credit, zero where nothing moved."""
    balance_after: Minor
    reference: str
    description: str
    unreadable: Unreadable | None
    """Why the description is empty though there may have been one."""
    parent_id: int
    """Zero for none."""


@dataclass(frozen=True, slots=True)
class StatementPage:
    """Entries, oldest first, and the balance before the first of them."""

    opening: Minor
    entries: list[EntryRecord]

    @property
    def closing(self) -> Minor:
        """The balance after the last entry."""
        return self.entries[-1].balance_after if self.entries else self.opening


class VolumeTotal(NamedTuple):
    """Transfers of one kind and currency that began within one interval."""

    start_us: int
    currency: Currency
    kind: TransferKind
    transfers: int
    total: int
    """Exact; may exceed int64."""


class CounterpartyTotal(NamedTuple):
    """What an account exchanged with one other; exact, and may exceed int64."""

    account: AccountId
    transfers: int
    sent: int
    received: int
