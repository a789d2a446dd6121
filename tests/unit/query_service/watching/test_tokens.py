"""Resume tokens: they open to what they were made for, and to nobody else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError
from paycore.domain.position import Position
from query_service.watching.port import DeclinePlace, Place
from query_service.watching.tokens import TOKEN_CHARACTERS, WatchKey, WatchTokens

KEY = bytes(range(32))
TOKENS = WatchTokens(KEY)
BOUND = WatchKey("app", AccountId(7), declines=False)
PLACE = Place(5, DeclinePlace(6, 7))
LONG = st.integers(0, 2**63 - 1)


@given(LONG, LONG, LONG, st.integers(1, 2**32 - 1), st.booleans())
def test_a_token_opens_to_the_place_it_was_made_for(
    version: int, xid: int, decline: int, epoch: int, declines: bool
) -> None:
    bound = WatchKey("app", AccountId(version), declines=declines)
    place = Place(version, DeclinePlace(xid, decline))
    token = TOKENS.seal(place, epoch, bound)
    assert len(token) == TOKEN_CHARACTERS
    assert TOKENS.open(token, bound) == (place, epoch)


@pytest.mark.parametrize(
    "bound",
    [
        WatchKey("other", AccountId(7), declines=False),
        WatchKey("app", AccountId(8), declines=False),
        WatchKey("app", AccountId(7), declines=True),
    ],
)
def test_a_token_of_another_watch_is_refused(bound: WatchKey) -> None:
    with pytest.raises(PaycoreError):
        TOKENS.open(TOKENS.seal(PLACE, 1, bound), BOUND)


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(PaycoreError):
        WatchTokens(bytes(32)).open(TOKENS.seal(PLACE, 1, BOUND), BOUND)


@given(st.integers(0, 44), st.integers(1, 255))
def test_no_altered_token_opens(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(TOKENS.seal(PLACE, 1, BOUND)))
    raw[place] ^= change
    with pytest.raises(PaycoreError):
        TOKENS.open(base64.urlsafe_b64encode(raw).decode(), BOUND)


@given(st.text(max_size=80))
def test_no_other_text_opens(text: str) -> None:
    with pytest.raises(PaycoreError):
        TOKENS.open(text, BOUND)


def test_positions_and_tokens_are_told_apart_by_their_length() -> None:
    assert len(Position(1, 2, 3).encode()) != TOKEN_CHARACTERS
