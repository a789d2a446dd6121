"""Rows become documents that the mappings know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import projector
from paycore.domain.limbs import LIMB_FIELDS, join
from paycore.domain.money import MAX_MINOR
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import Details
from projector.batch import DocumentKind
from projector.documents import (
    account_document,
    decline_document,
    transfer_document,
)

MAPPINGS = Path(projector.__file__).parent / "mappings"

DETAILS = Details("u", "d", "10.0.0.1", "two\nlines", {"k": "v"})
PERSONAL = {"user_id", "device_id", "ip_address", "description", "metadata"}
COMMON = {
    "id": 1, "kind": "TRANSFER", "debit_account": 10, "credit_account": 11, "amount": 5,
    "currency": "USD", "client": "app", "reference": "r", "created_at_us": 1_700_000_000_123_456,
    "effective_at_us": 1_600_000_000_000_000, "parent_id": None, "group_id": None,
    "erasures": 0,
}  # fmt: skip
NO_CHILD = dict.fromkeys(
    ("parent_sequence", "parent_remaining", "parent_state", "released", "expires_at_us", "review")
)
TRANSFER = {
    **COMMON, **NO_CHILD, "debit_version": 3, "credit_version": 4,
    "debit_balance_after": -5, "credit_balance_after": 5, "debit_held_after": 0,
    "step_up": "AUTHORIZED", "authorization_id": 99,
}  # fmt: skip
HOLD = {
    **TRANSFER, "kind": "HOLD", "credit_version": None, "credit_balance_after": None,
    "debit_held_after": 5, "expires_at_us": 1_800_000_000_000_000, "review": "new-payee",
    "group_id": 77,
}  # fmt: skip
CAPTURE = {
    **TRANSFER, "id": 2, "kind": "CAPTURE", "amount": 4, "parent_id": 1, "parent_sequence": 1,
    "parent_remaining": 0, "parent_state": "CAPTURED", "released": 1,
}  # fmt: skip
LATEST = {
    "id": 1,
    "parent_sequence": 2,
    "parent_remaining": 3,
    "parent_state": "PARTIALLY_REFUNDED",
}
DECLINE = {**COMMON, "reason": "ACCOUNT_FROZEN", "figures": '{"account": "10"}'}
ACCOUNT = {
    "id": 10, "kind": "CUSTOMER", "status": "ACTIVE", "currency": "USD", "owner": "o",
    "institution": "i", "opened_by": "app", "balance": 1, "held": 0, "overdraft_limit": 0,
    "version": 3, "revision": 2, "created_at_us": 5,
}  # fmt: skip
ACCOUNTS = {10: ACCOUNT, 11: {**ACCOUNT, "id": 11, "owner": "p"}}


def known_fields(kind: DocumentKind) -> set[str]:
    definition: dict[str, Any] = json.loads((MAPPINGS / f"{kind.value}.json").read_text())
    assert definition["mappings"]["dynamic"] == "strict"
    return set(definition["mappings"]["properties"])


def test_every_field_of_a_transfer_and_a_decline_is_mapped_and_none_is_forgotten() -> None:
    documents = (
        transfer_document(TRANSFER, ACCOUNTS, None, DETAILS),
        transfer_document(HOLD, ACCOUNTS, None, Unreadable.ERASED),
        transfer_document(CAPTURE, ACCOUNTS, LATEST),
        decline_document(DECLINE, ACCOUNTS),
    )
    written: set[str] = set().union(*(json.loads(document.body) for document in documents))
    assert written == known_fields(DocumentKind.TRANSFER)


def test_every_field_of_an_account_is_mapped_and_none_is_forgotten() -> None:
    assert json.loads(account_document(ACCOUNT).body).keys() == known_fields(DocumentKind.ACCOUNT)


def test_a_body_is_one_line() -> None:
    assert b"\n" not in transfer_document(TRANSFER, ACCOUNTS, None, DETAILS).body


def test_what_is_absent_is_left_out() -> None:
    row = {**TRANSFER, "reference": None, "effective_at_us": None}
    row |= {"step_up": "BELOW_THRESHOLD", "authorization_id": None}
    fields = json.loads(transfer_document(row, ACCOUNTS, None).body)
    assert None not in fields.values()
    absent = {
        *PERSONAL,
        *NO_CHILD,
        "details_state",
        "reference",
        "effective_at_us",
        "authorization_id",
        "remaining",
    }
    assert not fields.keys() & (absent | {"parent_id", "group_id"})


def test_a_decline_of_unknown_accounts_says_nothing_of_them() -> None:
    fields = json.loads(decline_document(DECLINE, {}).body)
    assert not [name for name in fields if name.endswith(("owner", "institution", "opened_by"))]
    assert fields["state"] == "FAILED"


def test_versions_rise_with_entries_and_other_changes_and_begin_at_one() -> None:
    assert account_document({**ACCOUNT, "version": 0, "revision": 0}).version == 1
    assert account_document(ACCOUNT).version == 6
    assert transfer_document(TRANSFER, ACCOUNTS, None).version == 1


def test_time_is_told_in_microseconds_and_in_milliseconds() -> None:
    fields = json.loads(transfer_document(TRANSFER, ACCOUNTS, None).body)
    assert (fields["created_at_us"], fields["created_at"]) == (
        1_700_000_000_123_456,
        1_700_000_000_123,
    )


@pytest.mark.parametrize("amount", [1, 2**53 + 1, MAX_MINOR])
def test_limbs_stand_beside_the_amount(amount: int) -> None:
    fields = json.loads(transfer_document({**TRANSFER, "amount": amount}, {}, None).body)
    assert fields["amount"] == join(fields[name] for name in LIMB_FIELDS) == amount


def test_a_hold_begins_held_with_all_of_it_left_and_has_no_entry_on_the_credited_side() -> None:
    fields = json.loads(transfer_document(HOLD, ACCOUNTS, None).body)
    assert (fields["state"], fields["remaining"], fields["debit_held_after"]) == ("HELD", 5, 5)
    assert not fields.keys() & {"credit_version", "credit_balance_after"}


def test_what_followed_last_says_the_state_and_what_is_left_and_raises_the_version() -> None:
    document = transfer_document(TRANSFER, ACCOUNTS, LATEST)
    fields = json.loads(document.body)
    assert (fields["state"], fields["remaining"]) == ("PARTIALLY_REFUNDED", 3)
    assert document.version == 3
    # It says nothing of itself as a child.
    assert not fields.keys() & {"parent_state", "parent_remaining", "parent_sequence"}


def test_a_child_says_what_it_made_of_its_parent_and_has_a_state_of_its_own() -> None:
    fields = json.loads(transfer_document(CAPTURE, ACCOUNTS, None).body)
    assert (fields["state"], fields["parent_state"]) == ("POSTED", "CAPTURED")
    assert (fields["parent_id"], fields["parent_sequence"], fields["released"]) == (1, 1, 1)
    assert (fields["parent_remaining"], "remaining" in fields) == (0, False)


def test_a_decline_says_what_it_was_to_follow() -> None:
    row = {**DECLINE, "kind": "CAPTURE", "parent_id": 1, "group_id": 77}
    fields = json.loads(decline_document(row, ACCOUNTS).body)
    assert (fields["parent_id"], fields["group_id"], fields["state"]) == (1, 77, "FAILED")


@pytest.mark.parametrize("unreadable", Unreadable)
def test_personal_data_that_cannot_be_read_leaves_only_why(unreadable: Unreadable) -> None:
    for document in (
        transfer_document(TRANSFER, ACCOUNTS, None, unreadable),
        decline_document(DECLINE, ACCOUNTS, unreadable),
    ):
        fields = json.loads(document.body)
        assert fields["details_state"] == unreadable.value
        assert not fields.keys() & PERSONAL


def test_an_erasure_raises_the_version_beside_what_followed() -> None:
    erased = {**TRANSFER, "erasures": 1}
    assert transfer_document(erased, ACCOUNTS, None, Unreadable.ERASED).version == 2
    assert transfer_document(erased, ACCOUNTS, LATEST, Unreadable.ERASED).version == 4
    assert decline_document({**DECLINE, "erasures": 2}, ACCOUNTS, Unreadable.ERASED).version == 3
