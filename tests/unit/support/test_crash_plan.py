"""The seed alone decides which faults strike, and in which order."""

from __future__ import annotations

import random
from collections import Counter

from tests.support.crashing.faults import Fault
from tests.support.crashing.plan import SHORT_KILLS, SHORT_POINTS, long_plan, may_meet, short_plan


async def nothing() -> None:
    """No fault at all."""


KINDS = ("killed", "paused", "torn", "fail point")
FAULTS = [Fault(kind, f"{kind} {number}", nothing) for kind in KINDS for number in range(6)]
LONG = Fault("killed", "takes long", nothing, long=True)
OFTEN = Fault("killed", "strikes often", nothing, times=3)
ALWAYS = Fault("killed", "is never left out", nothing, always=True)
TIMED = Fault("killed", "is timed", nothing, judged=True)
ASIDE = Fault("paused", "is in nobody's way", nothing, on_path=False)


def test_a_seed_gives_the_same_plan() -> None:
    plans = [short_plan(FAULTS, random.Random(7)) for _ in range(2)]
    assert plans[0] == plans[1]
    assert plans[0] != short_plan(FAULTS, random.Random(8))
    rounds = [long_plan(FAULTS, random.Random(7), 3) for _ in range(2)]
    assert rounds[0] == rounds[1]


def test_a_short_round_has_each_kind_and_nothing_that_takes_long() -> None:
    for seed in range(50):
        steps = short_plan([*FAULTS, LONG, ALWAYS], random.Random(seed))
        faults = [fault for step in steps for fault in step]
        kinds = Counter(fault.kind for fault in faults)
        assert kinds == {"killed": SHORT_KILLS, "fail point": SHORT_POINTS, "paused": 1, "torn": 1}
        assert LONG not in faults
        assert ALWAYS in faults
        assert {len(step) for step in steps} == {1}


def test_a_long_one_has_everything_as_often_as_it_has_to_in_each_round() -> None:
    steps = long_plan([*FAULTS, LONG, OFTEN], random.Random(3), 4)
    due = {**dict.fromkeys([*FAULTS, LONG], 4), OFTEN: 12}
    assert Counter(fault for step in steps for fault in step) == due
    assert {len(step) for step in steps} == {1, 2}
    assert all(len({fault.kind for fault in step}) == len(step) for step in steps)


def test_what_is_timed_strikes_beside_nothing_that_payments_may_wait_for() -> None:
    steps = long_plan([*FAULTS, TIMED, ASIDE], random.Random(3), 200)
    met = {one for step in steps if TIMED in step for one in step} - {TIMED}
    assert met == {ASIDE}
    assert may_meet(TIMED, ASIDE)
    assert may_meet(ASIDE, TIMED)
    assert not may_meet(FAULTS[-1], TIMED)
    assert not may_meet(TIMED, FAULTS[-1])
