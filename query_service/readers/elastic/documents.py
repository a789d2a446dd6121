"""From documents of the index to records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paycore.domain.accounts import AccountId
from paycore.domain.money import Currency, Minor
from paycore.domain.position import Position
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import StepUpBasis, TransferId, TransferKind, TransferState
from query_service.positions import IndexPosition
from query_service.readers.records import AccountRecord, EntryRecord, Side, TransferRecord
from query_service.readers.statistics import LatencySummary, SinkLatency

_NOTHING: Mapping[str, str] = {}
_MOVES_NOTHING = (TransferKind.HOLD, TransferKind.RELEASE)


def transfer(source: Mapping[str, Any]) -> TransferRecord:
    """The record of a document of the transfers index."""
    get = source.get
    step_up = get("step_up")
    parent_state = get("parent_state")
    details_state = get("details_state")
    return TransferRecord(
        id=TransferId(source["id"]),
        kind=TransferKind(source["kind"]),
        state=TransferState(source["state"]),
        debit_account=AccountId(source["debit_account"]),
        credit_account=AccountId(source["credit_account"]),
        debit_side=Side(get("debit_opened_by") or "", get("debit_institution") or ""),
        credit_side=Side(get("credit_opened_by") or "", get("credit_institution") or ""),
        amount=Minor(source["amount"]),
        currency=Currency(source["currency"]),
        debit_version=get("debit_version") or 0,
        credit_version=get("credit_version") or 0,
        debit_balance_after=get("debit_balance_after"),
        credit_balance_after=get("credit_balance_after"),
        debit_held_after=get("debit_held_after"),
        remaining=get("remaining"),
        parent_id=get("parent_id") or 0,
        parent_sequence=get("parent_sequence") or 0,
        parent_remaining=get("parent_remaining"),
        parent_state=None if parent_state is None else TransferState(parent_state),
        released=get("released"),
        expires_at_us=get("expires_at_us"),
        group_id=get("group_id") or 0,
        review=get("review") or "",
        client=source["client"],
        reference=get("reference") or "",
        step_up=None if step_up is None else StepUpBasis(step_up),
        authorization_id=get("authorization_id") or 0,
        created_at_us=source["created_at_us"],
        effective_at_us=get("effective_at_us"),
        description=get("description") or "",
        metadata=get("metadata") or _NOTHING,
        user_id=get("user_id") or "",
        device_id=get("device_id") or "",
        ip_address=get("ip_address") or "",
        unreadable=None if details_state is None else Unreadable(details_state),
        decline_reason=get("decline_reason") or "",
        decline_figures=get("decline_figures") or _NOTHING,
    )


def entry(source: Mapping[str, Any], account: int) -> EntryRecord:
    """The record of a transfer's document as an entry of `account`."""
    get = source.get
    kind = TransferKind(source["kind"])
    details_state = get("details_state")
    pays = source["debit_account"] == account
    side, other = ("debit", "credit") if pays else ("credit", "debit")
    amount = 0 if kind in _MOVES_NOTHING else source["amount"]
    return EntryRecord(
        transfer=TransferId(source["id"]),
        version=source[f"{side}_version"],
        created_at_us=source["created_at_us"],
        kind=kind,
        counterparty=AccountId(source[f"{other}_account"]),
        change=-amount if pays else amount,
        balance_after=Minor(source[f"{side}_balance_after"]),
        reference=get("reference") or "",
        description=get("description") or "",
        unreadable=None if details_state is None else Unreadable(details_state),
        parent_id=get("parent_id") or 0,
    )


def account(source: Mapping[str, Any]) -> AccountRecord:
    """The record of a document of the accounts index."""
    return AccountRecord(
        id=AccountId(source["id"]),
        currency=Currency(source["currency"]),
        opened_by=source["opened_by"],
        institution=source["institution"],
        balance=Minor(source["balance"]),
        held=Minor(source["held"]),
        overdraft_limit=Minor(source["overdraft_limit"]),
        version=source["version"],
    )


def position(source: Mapping[str, Any]) -> IndexPosition:
    """The position in the document that the projector writes after a refresh."""
    place = Position(source["epoch"], source["xid"], source["journal_id"])
    return IndexPosition(place, source["source_time_us"] or None, source.get("from_us", 0))


def sink_latency(sink: str, source: Mapping[str, Any]) -> SinkLatency:
    """What the same document says of how late the sink is."""
    place, source_time_us, _ = position(source)
    lag = source.get("lag")
    recent = (
        None
        if lag is None
        else LatencySummary(
            transactions=lag["transactions"],
            p50_us=lag["p50_us"],
            p95_us=lag["p95_us"],
            p99_us=lag["p99_us"],
            max_us=lag["max_us"],
            window_us=lag["window_us"],
            end_us=lag["measured_at_us"],
        )
    )
    return SinkLatency(sink, place, source_time_us, recent)
