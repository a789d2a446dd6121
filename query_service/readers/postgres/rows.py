"""From the ledger's rows to records. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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
from query_service.readers.records import AccountRecord, Side, TransferRecord

Row = Mapping[str, Any]
"""A row of one of the named queries, by column."""

ShownDetails = Details | Unreadable | None
"""Personal data of a row as it may be shown; None where there is none."""

_NOTHING: Mapping[str, str] = {}
_NOBODY = Side("", "")


def posted_transfer(row: Row, sides: Mapping[int, Side], details: ShownDetails) -> TransferRecord:
    """The transfer as it was posted, whatever followed it."""
    kind = TransferKind(row["kind"])
    state = first_state(kind)
    parent_state = row["parent_state"]
    return TransferRecord(
        **_movement(row, sides, details),
        kind=kind,
        state=state,
        debit_version=row["debit_version"],
        credit_version=row["credit_version"] or 0,
        debit_balance_after=Minor(row["debit_balance_after"]),
        credit_balance_after=row["credit_balance_after"],
        debit_held_after=Minor(row["debit_held_after"]),
        remaining=Minor(row["amount"]) if state is TransferState.HELD else None,
        parent_sequence=row["parent_sequence"] or 0,
        parent_remaining=row["parent_remaining"],
        parent_state=None if parent_state is None else TransferState(parent_state),
        released=row["released"],
        expires_at_us=row["expires_at_us"],
        review=row["review"] or "",
        step_up=StepUpBasis(row["step_up"]),
        authorization_id=row["authorization_id"] or 0,
        decline_reason="",
        decline_figures=_NOTHING,
    )


def stored_decline(row: Row, sides: Mapping[int, Side], details: ShownDetails) -> TransferRecord:
    """The decline as a transfer that failed."""
    return TransferRecord(
        **_movement(row, sides, details),
        kind=TransferKind(row["kind"]),
        state=TransferState.FAILED,
        debit_version=0,
        credit_version=0,
        debit_balance_after=None,
        credit_balance_after=None,
        debit_held_after=None,
        remaining=None,
        parent_sequence=0,
        parent_remaining=None,
        parent_state=None,
        released=None,
        expires_at_us=None,
        review="",
        step_up=None,
        authorization_id=0,
        decline_reason=row["reason"],
        decline_figures=json.loads(row["figures"]),
    )


def account(row: Row) -> AccountRecord:
    """The account as it stands."""
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


def _movement(row: Row, sides: Mapping[int, Side], details: ShownDetails) -> dict[str, Any]:
    shown = details if isinstance(details, Details) else Details()
    debit, credit = row["debit_account"], row["credit_account"]
    return {
        "id": TransferId(row["id"]),
        "debit_account": AccountId(debit),
        "credit_account": AccountId(credit),
        # A decline may name an account that there never was.
        "debit_side": sides.get(debit, _NOBODY),
        "credit_side": sides.get(credit, _NOBODY),
        "amount": Minor(row["amount"]),
        "currency": Currency(row["currency"]),
        "parent_id": row["parent_id"] or 0,
        "group_id": row["group_id"] or 0,
        "client": row["client"],
        "reference": row["reference"] or "",
        "created_at_us": row["created_at_us"],
        "effective_at_us": row["effective_at_us"],
        "description": shown.description or "",
        "metadata": shown.metadata or _NOTHING,
        "user_id": shown.user_id or "",
        "device_id": shown.device_id or "",
        "ip_address": shown.ip_address or "",
        "unreadable": details if isinstance(details, Unreadable) else None,
    }
