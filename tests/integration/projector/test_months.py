"""Transfers stand in one index a month, made ahead and dropped when they are past retention."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from paycore.runtime.clock import SystemClock
from projector.settings import ProjectorSettings
from projector.sinks.elastic_layout import later, month_of, month_start_us
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger

Start = Callable[..., Running]


async def months(index: TestIndex) -> set[str]:
    found = await index.client.indices.get_alias(
        name=f"{index.prefix}-transfers",
        # One may be dropped while it is asked for.
        ignore_unavailable=True,
    )
    return {name.rsplit("-", 1)[1] for name in found}


def this_month() -> str:
    return month_of(SystemClock().now_us())


async def post_in(ledger: TestLedger, month: str, chance: random.Random) -> int:
    """A payment of an earlier month, between two accounts of its own."""
    accounts = await ledger.open_pair()
    time_us = month_start_us(month) + chance.randrange(27 * 86_400_000_000)
    [key] = await ledger.post([Payment(*accounts, 5)], created_at_us=time_us)
    return key


async def test_a_month_is_made_where_it_is_needed_and_the_next_one_ahead(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    start(settings)
    now = this_month()
    await ledger.open_accounts(1)
    await index.await_position(ledger)
    assert await months(index) == {now, later(now, 1)}
    old = [await post_in(ledger, later(now, -back), rng) for back in (3, 1, 1)]
    await index.await_position(ledger)
    assert await months(index) == {later(now, -3), later(now, -1), now, later(now, 1)}
    for key, back in zip(old, (3, 1, 1), strict=True):
        found = await index.get(key)
        assert found is not None
        assert found["_index"].endswith(later(now, -back))
    await index.assert_equals(ledger)


async def test_what_is_past_retention_is_dropped_and_told(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    now = this_month()
    first = start(settings)
    old, kept = [await post_in(ledger, later(now, -back), rng) for back in (2, 1)]
    await index.await_position(ledger)
    told = await index.position()
    assert told is not None
    assert told["from_us"] == 0
    await first.stop()
    start(settings.model_copy(update={"index_months_kept": 2}))

    async def dropped() -> bool:
        return await months(index) == {later(now, -1), now, later(now, 1)}

    await until(dropped)
    again = await post_in(ledger, later(now, -2), rng)
    await index.await_position(ledger)
    assert (await index.documents("transfers")).keys() == {kept}
    assert {old, again}.isdisjoint(await index.documents("transfers"))
    assert len(await index.documents("accounts")) == 6
    told = await index.position()
    assert told is not None
    assert told["from_us"] == month_start_us(later(now, -1))
    assert await ledger.rows("SELECT * FROM projection.dead_letters") == []


async def test_a_month_that_is_lost_is_filled_again(
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
    rng: random.Random,
) -> None:
    now = this_month()
    first = start(settings)
    await post_in(ledger, later(now, -1), rng)
    await post_in(ledger, now, rng)
    await index.await_position(ledger)
    await first.stop()
    lost = f"{index.prefix}-transfers-g1-{later(now, -1)}"
    await index.client.indices.delete(index=lost)
    start(settings)
    await index.await_position(ledger)

    async def filled() -> bool:
        return len(await index.documents("transfers")) == 2

    await until(filled)
    await index.assert_equals(ledger)


@pytest.mark.parametrize(("month", "by", "wanted"), [
    ("2026.11", 1, "2026.12"), ("2026.12", 1, "2027.01"), ("2026.01", -1, "2025.12"),
    ("2026.03", -15, "2024.12"), ("2026.07", 0, "2026.07"),
])  # fmt: skip
def test_months_are_reckoned_over_years(month: str, by: int, wanted: str) -> None:
    assert later(month, by) == wanted


@pytest.mark.parametrize("month", ["1970.01", "2024.02", "2026.12", "2038.01"])
def test_a_month_begins_where_the_one_before_ends(month: str) -> None:
    start_us = month_start_us(month)
    assert month_of(start_us) == month
    assert month_of(start_us - 1) == later(month, -1)
    assert month_of(month_start_us(later(month, 1)) - 1) == month
