"""From ledger rows to documents. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from paycore.domain.limbs import LIMB_FIELDS, split
from paycore.domain.transfers import TransferState
from projector.batch import Document, DocumentKind

_IMMUTABLE = 1

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Row = Mapping[str, Any]
"""A row of one of the named queries, by column."""


def transfer_document(
    row: Row, accounts: Mapping[int, Row], journal_xid: int, journal_id: int
) -> Document:
    """The document of a posted transfer; `accounts` holds at least its two."""
    fields = _movement(row, accounts, journal_xid, journal_id)
    fields["state"] = TransferState.POSTED.value
    fields["debit_version"] = row["debit_version"]
    fields["credit_version"] = row["credit_version"]
    fields["debit_balance_after"] = row["debit_balance_after"]
    fields["credit_balance_after"] = row["credit_balance_after"]
    fields["step_up"] = row["step_up"]
    if row["authorization_id"] is not None:
        fields["authorization_id"] = row["authorization_id"]
    return _document(DocumentKind.TRANSFER, row["id"], _IMMUTABLE, fields)


def decline_document(
    row: Row, accounts: Mapping[int, Row], journal_xid: int, journal_id: int
) -> Document:
    """The document of a stored decline: a transfer that failed, with its reason and figures."""
    fields = _movement(row, accounts, journal_xid, journal_id)
    fields["state"] = TransferState.FAILED.value
    fields["decline_reason"] = row["reason"]
    fields["decline_figures"] = json.loads(row["figures"])
    return _document(DocumentKind.TRANSFER, row["id"], _IMMUTABLE, fields)


def account_document(row: Row) -> Document:
    """The document of an account as it stands; each entry and each other change is a version."""
    version = row["version"] + row["revision"] + 1
    return _document(DocumentKind.ACCOUNT, row["id"], version, dict(row.items()))


def _movement(
    row: Row, accounts: Mapping[int, Row], journal_xid: int, journal_id: int
) -> dict[str, Any]:
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
        "journal_xid": journal_xid,
        "journal_id": journal_id,
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
    for name in (
        "reference", "effective_at_us", "user_id", "device_id", "ip_address", "description",
    ):  # fmt: skip
        value = row[name]
        if value is not None:
            fields[name] = value
    if row["metadata"] is not None:
        fields["metadata"] = json.loads(row["metadata"])
    return fields


def _document(kind: DocumentKind, key: int, version: int, fields: dict[str, Any]) -> Document:
    return Document(kind, key, version, _encode(fields).encode())
