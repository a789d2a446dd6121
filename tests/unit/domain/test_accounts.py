"""What an account has to spend, and how its status may move."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.accounts import LEGAL_STATUS_MOVES, AccountStatus
from paycore.domain.money import MAX_MINOR, MIN_MINOR, Minor
from tests.support.samples import account


@given(st.integers(-1_000, 1_000), st.integers(0, 1_000), st.integers(0, 1_000))
def test_available_is_balance_without_holds_and_with_the_limit(
    balance: int, held: int, limit: int
) -> None:
    one = account(1, balance=Minor(balance), held=Minor(held), overdraft_limit=Minor(limit))
    assert one.available == balance - held + limit


def test_amounts_are_int64() -> None:
    assert (MIN_MINOR, MAX_MINOR) == (-(2**63), 2**63 - 1)


def test_every_status_move_is_decided() -> None:
    illegal = set(product(AccountStatus, repeat=2)) - LEGAL_STATUS_MOVES
    assert illegal == {(status, status) for status in AccountStatus} | {
        (AccountStatus.CLOSED, AccountStatus.ACTIVE),
        (AccountStatus.CLOSED, AccountStatus.FROZEN),
    }
