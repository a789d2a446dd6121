"""Sums of limbs join to exact sums."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.limbs import LIMB_FIELDS, split
from query_service.readers.elastic.documents import exact_sum


@given(st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=200))
def test_the_joined_sum_is_exact(amounts: list[int]) -> None:
    limbs = zip(*(split(amount) for amount in amounts), strict=True)
    # Elasticsearch answers with doubles.
    sums = [{"value": float(sum(limb))} for limb in limbs]
    assert exact_sum(dict(zip(LIMB_FIELDS, sums, strict=True))) == sum(amounts)
