"""Amounts come back from their limbs, and sums from sums, to the last cent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.limbs import LIMB_BITS, LIMB_FIELDS, join, split
from paycore.domain.money import MAX_MINOR

LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("amount", "limbs"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2**21 - 1, (2**21 - 1, 0, 0)),
        (2**21, (0, 1, 0)),
        (2**42, (0, 0, 1)),
        (2**53 + 1, (1, 0, 2**11)),
        (2**62, (0, 0, 2**20)),
        (LARGEST - 1, (2**21 - 2, 2**21 - 1, 2**21 - 1)),
        (LARGEST, (2**21 - 1, 2**21 - 1, 2**21 - 1)),
    ],
)
def test_an_amount_splits_low_first_and_joins_again(
    amount: int, limbs: tuple[int, int, int]
) -> None:
    assert split(amount) == limbs
    assert join(limbs) == amount


@given(st.integers(LARGEST - 2**12, LARGEST) | st.integers(0, LARGEST))
def test_every_limb_is_small_and_none_is_lost(amount: int) -> None:
    assert all(0 <= limb < 2**LIMB_BITS for limb in split(amount))
    assert join(split(amount)) == amount


@given(st.lists(st.integers(LARGEST - 2**12, LARGEST) | st.integers(1, LARGEST), max_size=200))
def test_doubles_of_sums_of_limbs_join_to_the_exact_sum(amounts: list[int]) -> None:
    limbs = zip(*(split(amount) for amount in amounts), strict=True)
    assert join([float(sum(limb)) for limb in limbs]) == sum(amounts)


def test_limbs_hold_every_amount_and_sum_exactly_over_a_full_shard() -> None:
    assert 2 ** (LIMB_BITS * len(LIMB_FIELDS)) > MAX_MINOR
    most_documents_a_shard = 2**31
    assert most_documents_a_shard * (2**LIMB_BITS - 1) < 2**53
