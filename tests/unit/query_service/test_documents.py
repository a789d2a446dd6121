"""Sums of limbs join to exact sums."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from projector.documents import LIMB_BITS
from query_service.readers.elastic.documents import exact_sum
from query_service.readers.elastic.requests import LIMBS


@given(st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=200))
def test_the_joined_sum_is_exact(amounts: list[int]) -> None:
    mask = (1 << LIMB_BITS) - 1
    bucket = {
        # Elasticsearch answers with doubles.
        limb: {"value": float(sum(amount >> LIMB_BITS * place & mask for amount in amounts))}
        for place, limb in enumerate(LIMBS)
    }
    assert exact_sum(bucket) == sum(amounts)


def test_limbs_hold_a_whole_amount_and_sum_exactly_over_a_full_shard() -> None:
    assert LIMB_BITS * len(LIMBS) == 63
    most_documents_a_shard = 2**31
    assert most_documents_a_shard * ((1 << LIMB_BITS) - 1) < 2**53
