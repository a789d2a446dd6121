"""What makes two requests the same, and what does not."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.idempotency import (
    HASH_BYTES,
    command_hash,
    details_hash,
    transfer_request_hash,
)
from paycore.domain.transfers import Details, TransferKind

SECRET = bytes(range(32))
BASE: dict[str, Any] = {
    "kind": TransferKind.TRANSFER,
    "debit_account": 1,
    "credit_account": 2,
    "amount": 300,
    "currency": "EUR",
    "reference": "invoice 7",
    "effective_at_us": 5,
    "description": "rent",
    "metadata": {"a": "1", "b": "2"},
}


def request_hash(secret: bytes = SECRET, **changes: Any) -> bytes:
    return transfer_request_hash(secret, **{**BASE, **changes})


def documented(text: str) -> bytes:
    """The keyed hash of fields joined by the unit separator, written out here as `|`."""
    joined = text.replace("|", "\x1f").encode()
    return blake2b(joined, key=SECRET, digest_size=16).digest()


def test_hashes_are_of_the_documented_text_so_that_those_stored_before_stay_comparable() -> None:
    assert request_hash() == documented("transfer/1|TRANSFER|1|2|300|EUR|invoice 7|5|rent|a|1|b|2")
    assert request_hash(effective_at_us=None, metadata=None) == documented(
        "transfer/1|TRANSFER|1|2|300|EUR|invoice 7||rent"
    )
    assert command_hash(SECRET, "open/1", 7, "ab") == documented("open/1|7|ab")
    details = Details("u", "d", "::1", "rent", {"b": "2", "a": "1"})
    assert details_hash(SECRET, details) == documented("details/1|u|d|::1|rent|a|1|b|2")
    plain = Details("u", "d", "::1", "rent")
    assert details_hash(SECRET, plain) == documented("details/1|u|d|::1|rent")


def test_the_same_fields_give_the_same_hash() -> None:
    assert request_hash() == request_hash()
    assert len(request_hash()) == HASH_BYTES


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": TransferKind.WITHDRAWAL},
        {"debit_account": 2, "credit_account": 1},
        {"debit_account": 11},
        {"credit_account": 21},
        {"amount": 301},
        {"currency": "USD"},
        {"reference": ""},
        {"effective_at_us": None},
        {"effective_at_us": 6},
        {"description": "Rent"},
        {"metadata": {"a": "1"}},
        {"metadata": {"a": "2", "b": "1"}},
        {"metadata": {"a": "1", "b": "2", "c": ""}},
        {"metadata": None},
    ],
    ids=str,
)
def test_every_business_field_counts(changes: dict[str, Any]) -> None:
    assert request_hash(**changes) != request_hash()


def test_metadata_has_no_order() -> None:
    assert request_hash(metadata={"b": "2", "a": "1"}) == request_hash()


def test_a_text_cannot_slip_into_the_next_field() -> None:
    assert request_hash(reference="ab", description="c") != request_hash(
        reference="a", description="bc"
    )
    assert command_hash(SECRET, "open", "ab", "c") != command_hash(SECRET, "open", "a", "bc")


def test_hashes_are_keyed() -> None:
    other = bytes(32)
    assert request_hash(other) != request_hash()
    assert command_hash(other, "open", 1) != command_hash(SECRET, "open", 1)
    details = Details(description="rent")
    assert details_hash(other, details) != details_hash(SECRET, details)


def test_commands_of_different_kinds_never_share_a_hash() -> None:
    assert command_hash(SECRET, "open_account/1", 1) != command_hash(SECRET, "set_status/1", 1)


@pytest.mark.parametrize(
    "other",
    [
        Details("v", "d", "::1", "rent", {"a": "1"}),
        Details("u", "e", "::1", "rent", {"a": "1"}),
        Details("u", "d", "::2", "rent", {"a": "1"}),
        Details("u", "d", "::1", "Rent", {"a": "1"}),
        Details("u", "d", "::1", "rent", {"a": "2"}),
        Details("u", "d", "::1", "rent", None),
    ],
    ids=str,
)
def test_every_personal_field_counts(other: Details) -> None:
    mine = Details("u", "d", "::1", "rent", {"a": "1"})
    assert details_hash(SECRET, other) != details_hash(SECRET, mine)


printable = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=20)


@given(
    st.dictionaries(printable, printable, max_size=4),
    st.dictionaries(printable, printable, max_size=4),
)
def test_hashes_are_equal_exactly_when_metadata_is(
    one: dict[str, str], other: dict[str, str]
) -> None:
    assert (request_hash(metadata=one) == request_hash(metadata=other)) == (one == other)
