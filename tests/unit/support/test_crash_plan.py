"""The seed alone decides which faults strike, and in which order."""

from __future__ import annotations

import random
from collections import Counter

from tests.support.crashing.faults import Fault
from tests.support.crashing.plan import SHORT_KILLS, SHORT_POINTS, long_plan, short_plan


async def nothing() -> None:
    """No fault at all."""


KINDS = ("killed", "paused", "torn", "fail point")
FAULTS = [Fault(kind, f"{kind} {number}", nothing) for kind in KINDS for number in range(6)]
LONG = Fault("killed", "takes long", nothing, long=True)


def test_a_seed_gives_the_same_plan() -> None:
    plans = [short_plan(FAULTS, random.Random(7)) for _ in range(2)]
    assert plans[0] == plans[1]
    assert plans[0] != short_plan(FAULTS, random.Random(8))
    rounds = [list(long_plan(FAULTS, random.Random(7), 3)) for _ in range(2)]
    assert rounds[0] == rounds[1]


def test_a_short_round_has_each_kind_and_nothing_that_takes_long() -> None:
    for seed in range(50):
        kinds = Counter(fault.kind for fault in short_plan([*FAULTS, LONG], random.Random(seed)))
        assert kinds == {"killed": SHORT_KILLS, "fail point": SHORT_POINTS, "paused": 1, "torn": 1}
        assert LONG not in short_plan([*FAULTS, LONG], random.Random(seed))


def test_a_long_one_has_everything_as_often_as_there_are_rounds() -> None:
    steps = list(long_plan([*FAULTS, LONG], random.Random(3), 4))
    assert Counter(fault for step in steps for fault in step) == dict.fromkeys([*FAULTS, LONG], 4)
    assert {len(step) for step in steps} == {1, 2}
    assert all(len({fault.kind for fault in step}) == len(step) for step in steps)
