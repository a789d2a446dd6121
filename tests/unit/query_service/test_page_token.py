"""Page tokens are bound to everything that decides the list."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.transfers import TransferKind
from query_service.page_token import PageTokens
from query_service.readers.port import PageKey, TransferFilter

KEY = bytes(range(32))
TOKENS = PageTokens(KEY)
PLACE = PageKey(1_760_000_000_000_000, 7_000)
WANTED = TransferFilter(account=AccountId(5), reference="rent")
INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64, INT64)
def test_a_token_opens_to_the_place_it_was_made_for(created_at_us: int, transfer: int) -> None:
    place = PageKey(created_at_us, transfer)
    assert TOKENS.open(TOKENS.seal(place, "app", WANTED), "app", WANTED) == place


@given(st.integers(0, 43), st.characters())
def test_no_other_text_opens(place: int, character: str) -> None:
    token = TOKENS.seal(PLACE, "app", WANTED)
    altered = token[:place] + character + token[place + 1 :]
    if altered != token:
        assert_refused(altered, "app", WANTED)


CHANGES: dict[str, Any] = {
    "account": 6,
    "start_us": 1,
    "end_us": 1,
    "kinds": frozenset({TransferKind.DEPOSIT}),
    "counterparty": 9,
    "min_amount": 0,
    "max_amount": 0,
    "reference": None,
    "include_declines": True,
}


def test_every_field_of_the_filter_is_tried() -> None:
    assert set(CHANGES) == {field.name for field in dataclasses.fields(TransferFilter)}


@pytest.mark.parametrize("field", CHANGES)
def test_a_token_is_refused_with_another_filter(field: str) -> None:
    other = dataclasses.replace(WANTED, **{field: CHANGES[field]})
    assert_refused(TOKENS.seal(PLACE, "app", WANTED), "app", other)


def test_a_token_is_refused_for_another_client_and_under_another_key() -> None:
    token = TOKENS.seal(PLACE, "app", WANTED)
    assert_refused(token, "loadtest", WANTED)
    with pytest.raises(PaycoreError):
        PageTokens(bytes(32)).open(token, "app", WANTED)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        PageTokens(b"short")


def assert_refused(token: str, client: str, wanted: TransferFilter) -> None:
    with pytest.raises(PaycoreError) as caught:
        TOKENS.open(token, client, wanted)
    assert caught.value.reason is Reason.INVALID_FIELD
    assert [violation.field for violation in caught.value.violations] == ["page_token"]
