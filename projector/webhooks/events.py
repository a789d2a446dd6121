"""Which events a row of the journal is, and what is told of each. Pure.

Nothing personal is told: neither details of transfers nor owners of accounts; and no balances, for
an event is the same for all who are told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from paycore.domain.transfers import TransferKind, TransferState, first_state
from paycore.domain.webhooks import EventType, event_id, event_type_of
from projector.batch import Row
from projector.journal_rows import JournalRow

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Event(NamedTuple):
    """One thing that happened, as it is told."""

    xid: int
    journal_id: int
    place: int
    """Among the transfers, declines and accounts that its journal row names, in this order."""
    type: EventType
    sides: tuple[int, ...]
    """Accounts of which one must be readable to whoever is told."""
    body: str


def named_accounts(rows: Iterable[JournalRow]) -> set[int]:
    """Accounts that `rows` opened or changed."""
    return {account for row in rows for account in row.accounts}


def events_of(row: JournalRow, accounts: Mapping[int, Row]) -> Iterator[Event]:
    """The events of `row`; `accounts` holds at least those that it opened or changed.

    An account is told as it stands now, which its revision says; all else as it was posted.
    """
    entries: list[tuple[EventType, tuple[int, ...], int, dict[str, Any]]] = []
    for transfer in row.transfers:
        both = (transfer["debit_account"], transfer["credit_account"])
        entries.append((_type(transfer), both, transfer["created_at_us"], _transfer(transfer)))
    for decline in row.declines:
        # What was refused, and that it was, is the payer's.
        payer = (decline["debit_account"],)
        entries.append(
            (EventType.TRANSFER_DECLINED, payer, decline["created_at_us"], _decline(decline))
        )
    for key in row.accounts:
        account = accounts[key]
        opened = account["created_at_us"] == row.created_at_us
        entries.append(
            (
                EventType.ACCOUNT_OPENED if opened else EventType.ACCOUNT_CHANGED,
                (key,),
                row.created_at_us,
                _account(account),
            )
        )
    position = row.position
    for place, (kind, sides, at_us, data) in enumerate(entries):
        body = {
            "id": event_id(position.journal_id, place),
            "type": kind.value,
            "created_at_us": at_us,
            "position": position.encode(),
            "data": data,
        }
        yield Event(position.xid, position.journal_id, place, kind, sides, _encode(body))


def _type(row: Row) -> EventType:
    state = row["parent_state"]
    return event_type_of(TransferKind(row["kind"]), None if state is None else TransferState(state))


def _movement(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": str(row["id"]),
        "kind": row["kind"],
        "debit_account_id": str(row["debit_account"]),
        "credit_account_id": str(row["credit_account"]),
        "amount": {"minor_units": str(row["amount"]), "currency": row["currency"]},
        "client": row["client"],
    }
    _add_text(told, row, "parent_id", "group_id")
    if row["reference"] is not None:
        told["reference"] = row["reference"]
    if row["effective_at_us"] is not None:
        told["effective_at_us"] = row["effective_at_us"]
    return told


def _transfer(row: Row) -> dict[str, Any]:
    told = _movement(row)
    told["state"] = first_state(TransferKind(row["kind"])).value
    told["debit_version"] = str(row["debit_version"])
    _add_text(told, row, "credit_version", "parent_sequence")
    if row["parent_id"] is not None:
        told["parent_state"] = row["parent_state"]
        told["parent_remaining_minor_units"] = str(row["parent_remaining"])
    if row["released"] is not None:
        told["released_minor_units"] = str(row["released"])
    if row["expires_at_us"] is not None:
        told["expires_at_us"] = row["expires_at_us"]
    return told


def _decline(row: Row) -> dict[str, Any]:
    told = _movement(row)
    told["state"] = TransferState.FAILED.value
    told["reason"] = row["reason"]
    return told


def _account(row: Row) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "kind": row["kind"],
        "status": row["status"],
        "currency": row["currency"],
        "institution": row["institution"],
        "overdraft_limit_minor_units": str(row["overdraft_limit"]),
        "version": str(row["version"]),
        "revision": str(row["revision"]),
    }


def _add_text(told: dict[str, Any], row: Row, *names: str) -> None:
    for name in names:
        if row[name] is not None:
            told[name] = str(row[name])
