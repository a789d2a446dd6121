"""The search finds what the system bears, and does not believe it at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.soaking.search import CONFIRMED, PRECISION, Step, highest


class System:
    """Bears up to `capacity` calls a second."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.tried: list[float] = []

    async def __call__(self, rate: float) -> Step:
        self.tried.append(rate)
        return Step(rate, 1, 0.0, 0.0, 0.0, "", borne=rate <= self.capacity)


@pytest.mark.parametrize("capacity", [100, 130, 333, 999])
async def test_the_capacity_is_found_to_within_the_precision(capacity: float) -> None:
    system = System(capacity)
    search = await highest(system, 100, 10_000)
    assert search.found_per_s is not None
    assert capacity / (1 + PRECISION) <= search.found_per_s <= capacity
    assert system.tried[-CONFIRMED:] == [search.found_per_s] * CONFIRMED
    assert [one.confirming for one in search.steps[-CONFIRMED:]] == [True] * CONFIRMED


async def test_lower_rates_are_tried_where_the_first_is_not_borne() -> None:
    system = System(30)
    search = await highest(system, 100, 10_000)
    assert search.found_per_s is not None
    assert 30 / (1 + PRECISION) <= search.found_per_s <= 30


async def test_nothing_is_found_where_not_even_the_lowest_is_borne() -> None:
    system = System(1)
    search = await highest(system, 100, 10_000)
    assert search.found_per_s is None
    assert min(system.tried) == 100 / 16


async def test_one_hiccup_does_not_end_the_search() -> None:
    class Hiccup(System):
        async def __call__(self, rate: float) -> Step:
            step = await super().__call__(rate)
            return step if len(self.tried) != 2 else replace(step, borne=False)

    system = Hiccup(1_000)
    search = await highest(system, 100, 10_000)
    assert search.found_per_s is not None
    assert search.found_per_s > 1_000 / (1 + PRECISION)
    assert system.tried[1] == system.tried[2]


async def test_no_rate_beyond_the_highest_is_tried() -> None:
    system = System(10**9)
    search = await highest(system, 100, 1_000)
    assert max(system.tried) <= 1_000
    assert search.found_per_s is not None
    assert search.found_per_s > 1_000 / 1.5


async def test_a_rate_that_is_not_confirmed_is_lowered() -> None:
    class Tiring(System):
        async def __call__(self, rate: float) -> Step:
            if len(self.tried) == 9:
                self.capacity *= 0.8
            return await super().__call__(rate)

    system = Tiring(500)
    search = await highest(system, 100, 10_000)
    assert search.found_per_s is not None
    assert search.found_per_s <= 400
    assert all(one.borne for one in search.steps[-CONFIRMED:])
