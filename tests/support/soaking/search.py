"""The highest rate that is borne: steps up to one that is not, halves in between, and once found
confirmed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

GROWTH = 1.5
"""From one step up to the next."""

PRECISION = 0.05
"""Share by which the lowest rate that was not borne is above the highest that was, at most."""

CONFIRMED = 2
"""Times, one after the other, that the rate must be borne again."""


@dataclass(frozen=True, slots=True)
class Step:
    """A rate, held for a while."""

    rate_per_s: float
    calls: int
    p50_s: float
    p99_s: float
    late_p99_s: float
    """By how much the load itself was late: 99% of the calls were sent within this."""
    troubles: str
    """Of calls that were not answered; empty where all were."""
    borne: bool
    confirming: bool = False


Run = Callable[[float], Awaitable[Step]]
"""Holds a rate, in calls per second."""


@dataclass
class Search:
    """What was tried, in order, and what was found."""

    steps: list[Step] = field(default_factory=list)
    found_per_s: float | None = None
    """None where not even the lowest rate was borne."""


async def highest(run: Run, first_per_s: float, most_per_s: float) -> Search:
    """The highest rate between the two that `run` bears, to within PRECISION, CONFIRMED times.

    A rate that is not confirmed is lowered by PRECISION and confirmed anew, down to the first.
    """
    search = Search()

    async def held(rate: float) -> bool:
        search.steps.append(await run(rate))
        return search.steps[-1].borne

    low, high = 0.0, first_per_s
    while high <= most_per_s and await held(high):
        low, high = high, high * GROWTH
    high = min(high, most_per_s * GROWTH)
    while low and high / low > 1 + PRECISION and (middle := (low + high) / 2) <= most_per_s:
        if await held(middle):
            low = middle
        else:
            high = middle
    while low >= first_per_s:
        for _ in range(CONFIRMED):
            again = replace(await run(low), confirming=True)
            search.steps.append(again)
            if not again.borne:
                break
        else:
            search.found_per_s = low
            return search
        low /= 1 + PRECISION
    return search
