"""Page tokens are bound to everything that decides the list."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.domain.transfers import TransferKind
from query_service.page_token import PageTokens
from query_service.readers.port import (
    PageKey,
    StatementFilter,
    StatementPlace,
    TransferFilter,
)

KEY = bytes(range(32))
TOKENS = PageTokens(KEY)
PLACE = PageKey(1_760_000_000_000_000, 7_000)
WANTED = TransferFilter(account=AccountId(5), reference="rent")
STATEMENT = StatementFilter(AccountId(5), 1, 9)
INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64, INT64)
def test_a_token_opens_to_the_place_it_was_made_for(created_at_us: int, transfer: int) -> None:
    place = PageKey(created_at_us, transfer)
    assert TOKENS.open(TOKENS.seal(place, "app", WANTED), "app", WANTED) == place


@given(st.integers(0, 83), st.characters())
def test_no_other_text_opens(place: int, character: str) -> None:
    token = TOKENS.seal(PLACE, "app", WANTED)
    altered = token[:place] + character + token[place + 1 :]
    if altered != token:
        assert_refused(altered, "app", WANTED)


@given(INT64, INT64, INT64, st.integers(1, 2**32 - 1), st.integers(0, 2**63))
def test_a_token_carries_what_page_one_showed(
    first: int, second: int, third: int, epoch: int, xid: int
) -> None:
    shown = Position(epoch, xid, 5)
    token = TOKENS.seal(PageKey(first, second), "app", WANTED, shown)
    assert TOKENS.walk(token, "app", WANTED) == (PageKey(first, second), shown)
    assert TOKENS.walk(TOKENS.seal(PLACE, "app", WANTED), "app", WANTED).shown is None
    place = StatementPlace(first, second, third)
    of_statement = TOKENS.seal_statement(place, "app", STATEMENT, shown)
    assert TOKENS.statement_walk(of_statement, "app", STATEMENT) == (place, shown)


def test_a_token_of_a_list_is_none_of_a_statement() -> None:
    with pytest.raises(PaycoreError):
        TOKENS.statement_walk(TOKENS.seal(PLACE, "app", WANTED), "app", STATEMENT)
    token = TOKENS.seal_statement(StatementPlace(1, 2, 3), "app", STATEMENT, None)
    assert_refused(token, "app", WANTED)


STATEMENT_CHANGES: dict[str, Any] = {
    "account": 6,
    "start_us": 2,
    "end_us": 3,
    "include_holds": True,
}


@pytest.mark.parametrize("field", STATEMENT_CHANGES)
def test_a_token_is_refused_with_another_statement(field: str) -> None:
    assert set(STATEMENT_CHANGES) == {one.name for one in dataclasses.fields(StatementFilter)}
    token = TOKENS.seal_statement(StatementPlace(1, 2, 3), "app", STATEMENT, None)
    other = dataclasses.replace(STATEMENT, **{field: STATEMENT_CHANGES[field]})
    with pytest.raises(PaycoreError):
        TOKENS.statement_walk(token, "app", other)


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
