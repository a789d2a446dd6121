"""Positions travel as opaque text, keep their order, and cannot be made up by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.position import Position

positions = st.builds(
    Position,
    epoch=st.integers(1, 2**32 - 1),
    xid=st.integers(0, 2**64 - 1),
    journal_id=st.integers(0, 2**64 - 1),
)
EXAMPLE = Position(1, 4_711, 7_000_000_000_000)


@given(positions)
def test_a_position_survives_the_journey(position: Position) -> None:
    token = position.encode()
    assert Position.decode(token) == position
    assert len(token) == 28


@given(positions, positions)
def test_order_is_epoch_then_transaction_then_row(one: Position, other: Position) -> None:
    assert (one < other) == (
        (one.epoch, one.xid, one.journal_id) < (other.epoch, other.xid, other.journal_id)
    )


def test_transactions_are_ordered_as_numbers_not_as_text() -> None:
    assert Position(1, 999, 5) < Position(1, 1_000, 1)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        EXAMPLE.encode()[:-1],
        EXAMPLE.encode()[:-4],
        EXAMPLE.encode() + "AAAA",
        EXAMPLE.encode() + " ",
        "B" + EXAMPLE.encode()[1:],
        "!" + EXAMPLE.encode()[1:],
        "é" + EXAMPLE.encode()[1:],
        Position(0, 1, 1).encode(),
        "A" * 28,
        "A" * 10_000,
    ],
)
def test_what_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not a position"):
        Position.decode(token)


@given(st.text(max_size=40))
def test_any_text_decodes_or_is_refused(token: str) -> None:
    try:
        position = Position.decode(token)
    except ValueError:
        return
    assert Position.decode(position.encode()) == position
