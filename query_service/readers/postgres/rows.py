"""From rows of the ledger to records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from paycore.domain.accounts import AccountId
from paycore.domain.money import Currency, Minor
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import (
    Details,
    StepUpBasis,
    TransferId,
    TransferKind,
    TransferState,
    first_state,
)
from query_service.readers.records import AccountRecord, EntryRecord, Side, TransferRecord

Row = Mapping[str, Any]
"""A row of one of the named queries, by column."""

Shown = Details | Unreadable
"""Personal data of a row, or why it is not shown."""


class OpensDetails(Protocol):
    """Opens the personal data of rows."""

    async def open(self, rows: Iterable[Row], within_s: float) -> dict[int, Shown]:
        """By id, what those of `rows` hold that hold any, or why it is not shown."""
        ...


_NOTHING: Mapping[str, str] = {}
_NO_DETAILS = Details()


def transfer(row: Row, latest: Row | None, shown: Shown | None) -> TransferRecord:
    """A posted transfer; `latest` is what its latest child says of it, None as it was posted."""
    kind = TransferKind(row["kind"])
    if latest is None:
        state = first_state(kind)
        remaining = Minor(row["amount"]) if state is TransferState.HELD else None
    else:
        state = TransferState(latest["parent_state"])
        remaining = latest["parent_remaining"]
    details, unreadable = _told(shown)
    parent_state = row["parent_state"]
    return TransferRecord(
        id=TransferId(row["id"]),
        kind=kind,
        state=state,
        debit_account=AccountId(row["debit_account"]),
        credit_account=AccountId(row["credit_account"]),
        debit_side=_side(row, "debit"),
        credit_side=_side(row, "credit"),
        amount=Minor(row["amount"]),
        currency=Currency(row["currency"]),
        debit_version=row["debit_version"],
        credit_version=row["credit_version"] or 0,
        debit_balance_after=row["debit_balance_after"],
        credit_balance_after=row["credit_balance_after"],
        debit_held_after=row["debit_held_after"],
        remaining=remaining,
        parent_id=row["parent_id"] or 0,
        parent_sequence=row["parent_sequence"] or 0,
        parent_remaining=row["parent_remaining"],
        parent_state=None if parent_state is None else TransferState(parent_state),
        released=row["released"],
        expires_at_us=row["expires_at_us"],
        group_id=row["group_id"] or 0,
        review=row["review"] or "",
        client=row["client"],
        reference=row["reference"] or "",
        step_up=StepUpBasis(row["step_up"]),
        authorization_id=row["authorization_id"] or 0,
        created_at_us=row["created_at_us"],
        effective_at_us=row["effective_at_us"],
        description=details.description,
        metadata=details.metadata or _NOTHING,
        user_id=details.user_id,
        device_id=details.device_id,
        ip_address=details.ip_address,
        unreadable=unreadable,
        decline_reason="",
        decline_figures=_NOTHING,
    )


def decline(row: Row, shown: Shown | None) -> TransferRecord:
    """A stored decline: a transfer that failed."""
    details, unreadable = _told(shown)
    return TransferRecord(
        id=TransferId(row["id"]),
        kind=TransferKind(row["kind"]),
        state=TransferState.FAILED,
        debit_account=AccountId(row["debit_account"]),
        credit_account=AccountId(row["credit_account"]),
        debit_side=_side(row, "debit"),
        credit_side=_side(row, "credit"),
        amount=Minor(row["amount"]),
        currency=Currency(row["currency"]),
        debit_version=0,
        credit_version=0,
        debit_balance_after=None,
        credit_balance_after=None,
        debit_held_after=None,
        remaining=None,
        parent_id=row["parent_id"] or 0,
        parent_sequence=0,
        parent_remaining=None,
        parent_state=None,
        released=None,
        expires_at_us=None,
        group_id=row["group_id"] or 0,
        review="",
        client=row["client"],
        reference=row["reference"] or "",
        step_up=None,
        authorization_id=0,
        created_at_us=row["created_at_us"],
        effective_at_us=row["effective_at_us"],
        description=details.description,
        metadata=details.metadata or _NOTHING,
        user_id=details.user_id,
        device_id=details.device_id,
        ip_address=details.ip_address,
        unreadable=unreadable,
        decline_reason=row["reason"],
        decline_figures=json.loads(row["figures"]),
    )


def entry(row: Row, shown: Shown | None) -> EntryRecord:
    """A row of `list_entries`."""
    details, unreadable = _told(shown)
    return EntryRecord(
        transfer=TransferId(row["id"]),
        version=row["version"],
        created_at_us=row["created_at_us"],
        kind=TransferKind(row["kind"]),
        counterparty=AccountId(row["counterparty"]),
        change=row["change"],
        balance_after=Minor(row["balance"]),
        reference=row["reference"] or "",
        description=details.description,
        unreadable=unreadable,
        parent_id=row["parent_id"] or 0,
    )


def account(row: Row) -> AccountRecord:
    """A row of `find_account`."""
    return AccountRecord(
        id=AccountId(row["id"]),
        currency=Currency(row["currency"]),
        opened_by=row["opened_by"],
        institution=row["institution"],
        balance=Minor(row["balance"]),
        held=Minor(row["held"]),
        overdraft_limit=Minor(row["overdraft_limit"]),
        version=row["version"],
    )


def _side(row: Row, side: str) -> Side:
    # Of a decline the account may be unknown.
    return Side(row[f"{side}_opened_by"] or "", row[f"{side}_institution"] or "")


def _told(shown: Shown | None) -> tuple[Details, Unreadable | None]:
    if isinstance(shown, Unreadable):
        return _NO_DETAILS, shown
    return shown or _NO_DETAILS, None
