"""The highest rate that is borne: steps up to one that is not, halves in between, and once found
confirmed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

GROWTH = 1.5
"""From one step up to the next."""

PRECISION = 0.05
"""Share by which the lowest rate that was not borne is above the highest that was, at most."""

LEAST = 1 / 16
TRIES = 2
"""How often a rate is tried before it counts as not borne: a machine has its hiccups."""

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
    """The highest rate up to `most_per_s` that `run` bears, to within PRECISION, CONFIRMED times.

    Where not even the first is borne, lower ones are tried, down to LEAST of it. A rate that is
    not confirmed is lowered by PRECISION and confirmed anew.
    """
    search = Search()
    least_per_s = LEAST * first_per_s

    async def held(rate: float) -> bool:
        for _ in range(TRIES):
            search.steps.append(await run(rate))
            if search.steps[-1].borne:
                return True
        return False

    async def confirmed(rate: float) -> bool:
        for _ in range(CONFIRMED):
            search.steps.append(replace(await run(rate), confirming=True))
            if not search.steps[-1].borne:
                return False
        return True

    low, high = 0.0, first_per_s
    while high <= most_per_s and await held(high):
        low, high = high, high * GROWTH
    while not low and high / 2 >= least_per_s:
        if await held(high / 2):
            low = high / 2
        else:
            high /= 2
    while low and high / low > 1 + PRECISION and (middle := (low + high) / 2) <= most_per_s:
        if await held(middle):
            low = middle
        else:
            high = middle
    while low >= least_per_s:
        if await confirmed(low):
            search.found_per_s = low
            break
        low /= 1 + PRECISION
    return search
