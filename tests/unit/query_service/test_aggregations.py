"""Groups of transfers: sums are exact at any size, and no transfer is left out unnoticed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.limbs import LIMB_FIELDS, split
from query_service.readers.elastic.aggregations import (
    IncompleteGroupsError,
    Part,
    Row,
    TooManyGroupsError,
    by_field,
    read_parts,
)

AMOUNTS = st.lists(
    st.one_of(st.integers(1, 10), st.integers(2**50, 2**54), st.integers(1, 2**63 - 1)),
    min_size=1,
    max_size=60,
)


def in_doubles(values: list[int]) -> float:
    """As Elasticsearch adds, but without its correction of rounding."""
    total = 0.0
    for value in values:
        total += float(value)
    return total


def bucket(key: str, amounts: list[int], *fields: str) -> dict[str, Any]:
    """As an index answers with the sums of `fields` over transfers of these amounts."""
    found: dict[str, Any] = {"key": key, "doc_count": len(amounts)}
    for field in fields:
        limb = LIMB_FIELDS.index(field) if field in LIMB_FIELDS else None
        values = amounts if limb is None else [split(amount)[limb] for amount in amounts]
        found[field] = {"value": in_doubles(values)}
    return found


def reply_of(*buckets: dict[str, Any], found: int | None = None, others: int = 0) -> dict[str, Any]:
    transfers = sum(one["doc_count"] for one in buckets)
    return {
        "hits": {"total": {"value": transfers if found is None else found}},
        "aggregations": {"0": {"sum_other_doc_count": others, "buckets": list(buckets)}},
    }


BY_CURRENCY = [Part([by_field("currency", 10)])]


@given(AMOUNTS, AMOUNTS)
def test_sums_are_exact_or_are_not_told(euros: list[int], yen: list[int]) -> None:
    exact = [[Row(("EUR",), len(euros), sum(euros)), Row(("JPY",), len(yen), sum(yen))]]
    in_one = reply_of(bucket("EUR", euros, "sum"), bucket("JPY", yen, "sum"))
    assert read_parts(BY_CURRENCY, in_one) in (exact, None)
    in_limbs = reply_of(bucket("EUR", euros, *LIMB_FIELDS), bucket("JPY", yen, *LIMB_FIELDS))
    assert read_parts(BY_CURRENCY, in_limbs) == exact


@pytest.mark.parametrize(
    ("amounts", "told"),
    [
        ([2**51, 2**51 - 1], True),
        # From here on a double might have been rounded, so the limbs are to be asked for.
        ([2**51, 2**51], False),
        ([2**53, 1], False),
        ([2**63 - 1] * 4, False),
    ],
)
def test_a_sum_that_a_double_may_have_rounded_is_not_told(amounts: list[int], told: bool) -> None:
    reply = reply_of(bucket("EUR", [1], "sum"), bucket("JPY", amounts, "sum"))
    assert (read_parts(BY_CURRENCY, reply) is not None) == told


def test_groups_that_were_left_out_are_noticed() -> None:
    with pytest.raises(TooManyGroupsError, match="currency"):
        read_parts(BY_CURRENCY, reply_of(bucket("EUR", [1], "sum"), found=2, others=1))


def test_transfers_in_no_group_are_noticed() -> None:
    with pytest.raises(IncompleteGroupsError, match="2 of 3"):
        read_parts(BY_CURRENCY, reply_of(bucket("EUR", [1, 2], "sum"), found=3))


def test_transfers_without_a_value_of_an_inner_level_are_noticed() -> None:
    inner = {"sum_other_doc_count": 0, "buckets": [bucket("north", [5], "sum")]}
    outer = {"key": "EUR", "doc_count": 2, "debit_institution": inner}
    levels = [by_field("currency", 10), by_field("debit_institution", 10)]
    with pytest.raises(IncompleteGroupsError, match="1 of 2 transfers have debit_institution"):
        read_parts([Part(levels)], reply_of(outer))
