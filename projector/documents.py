"""From ledger rows to documents. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from paycore.domain.limbs import LIMB_FIELDS, split
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import Details, TransferKind, TransferState, first_state
from projector.batch import Document, DocumentKind, Row

_FIRST_VERSION = 1

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

ShownDetails = Details | Unreadable | None
"""Personal data of a row as the index is to show it; None where there is none."""

_OPTIONAL = ("reference", "effective_at_us", "parent_id", "group_id")
_OPTIONAL_IF_POSTED = (
    "credit_version", "credit_balance_after", "authorization_id", "parent_sequence",
    "parent_remaining", "parent_state", "released", "expires_at_us", "review",
)  # fmt: skip


def transfer_document(
    row: Row, accounts: Mapping[int, Row], latest: Row | None, details: ShownDetails = None
) -> Document:
    """The document of a posted transfer as it stands; `accounts` holds at least its two.

    `latest` is the latest transfer that followed it, which says its state and what is left of it.
    How many followed it, and how often a subject of its details was erased, is its version, so that
    a copy made earlier never replaces a later one.
    """
    fields = _movement(row, accounts, details)
    fields["debit_version"] = row["debit_version"]
    fields["debit_balance_after"] = row["debit_balance_after"]
    fields["debit_held_after"] = row["debit_held_after"]
    fields["step_up"] = row["step_up"]
    _add_given(fields, row, _OPTIONAL_IF_POSTED)
    if latest is not None:
        fields["state"] = latest["parent_state"]
        fields["remaining"] = latest["parent_remaining"]
        version = _FIRST_VERSION + latest["parent_sequence"] + row["erasures"]
    else:
        state = first_state(TransferKind(row["kind"]))
        fields["state"] = state.value
        if state is TransferState.HELD:
            fields["remaining"] = row["amount"]
        version = _FIRST_VERSION + row["erasures"]
    return _document(DocumentKind.TRANSFER, row["id"], version, fields)


def decline_document(
    row: Row, accounts: Mapping[int, Row], details: ShownDetails = None
) -> Document:
    """The document of a stored decline: a transfer that failed, with its reason and figures."""
    fields = _movement(row, accounts, details)
    fields["state"] = TransferState.FAILED.value
    fields["decline_reason"] = row["reason"]
    fields["decline_figures"] = json.loads(row["figures"])
    version = _FIRST_VERSION + row["erasures"]
    return _document(DocumentKind.TRANSFER, row["id"], version, fields)


def account_document(row: Row) -> Document:
    """The document of an account as it stands; each entry and each other change is a version."""
    version = row["version"] + row["revision"] + _FIRST_VERSION
    return _document(DocumentKind.ACCOUNT, row["id"], version, dict(row.items()))


def _movement(row: Row, accounts: Mapping[int, Row], details: ShownDetails) -> dict[str, Any]:
    amount = row["amount"]
    created_at_us = row["created_at_us"]
    fields = {
        "id": row["id"],
        "kind": row["kind"],
        "debit_account": row["debit_account"],
        "credit_account": row["credit_account"],
        "accounts": (row["debit_account"], row["credit_account"]),
        "amount": amount,
        **dict(zip(LIMB_FIELDS, split(amount), strict=True)),
        "currency": row["currency"],
        "client": row["client"],
        "created_at_us": created_at_us,
        "created_at": created_at_us // 1000,
    }
    debit = accounts.get(row["debit_account"])
    if debit is not None:
        fields["debit_owner"] = debit["owner"]
        fields["debit_institution"] = debit["institution"]
        fields["debit_opened_by"] = debit["opened_by"]
    credit = accounts.get(row["credit_account"])
    if credit is not None:
        fields["credit_owner"] = credit["owner"]
        fields["credit_institution"] = credit["institution"]
        fields["credit_opened_by"] = credit["opened_by"]
    _add_given(fields, row, _OPTIONAL)
    if details is not None:
        _add_details(fields, details)
    return fields


def _add_details(fields: dict[str, Any], details: Details | Unreadable) -> None:
    if isinstance(details, Unreadable):
        fields["details_state"] = details.value
        return
    for name in ("user_id", "device_id", "ip_address", "description", "metadata"):
        value = getattr(details, name)
        if value:
            fields[name] = value


def _add_given(fields: dict[str, Any], row: Row, names: tuple[str, ...]) -> None:
    for name in names:
        value = row[name]
        if value is not None:
            fields[name] = value


def _document(kind: DocumentKind, key: int, version: int, fields: dict[str, Any]) -> Document:
    return Document(kind, key, version, _encode(fields).encode(), fields["created_at_us"])
