"""Which faults strike, in which order: by the seed alone."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.support.crashing.faults import Fault

SHORT_KILLS = 3
SHORT_POINTS = 4
TOGETHER = 0.3
"""Part of all faults of a long run that another one joins, where it may."""


def short_plan(faults: Sequence[Fault], rng: random.Random) -> list[list[Fault]]:
    """A few of each kind, one after the other, none that takes long."""
    by_kind: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        if not fault.long:
            by_kind[fault.kind].append(fault)
    many = {"killed": SHORT_KILLS, "fail point": SHORT_POINTS}
    chosen = []
    for kind, found in by_kind.items():
        always = [fault for fault in found if fault.always]
        others = [fault for fault in found if not fault.always]
        chosen += [*always, *rng.sample(others, many.get(kind, 1) - len(always))]
    rng.shuffle(chosen)
    return [[fault] for fault in chosen]


def long_plan(faults: Iterable[Fault], rng: random.Random, rounds: int) -> list[list[Fault]]:
    """Everything in each round, as often as it has to; now and then two faults at once."""
    steps = []
    for _ in range(rounds):
        waiting = [fault for fault in faults for _ in range(fault.times)]
        rng.shuffle(waiting)
        while waiting:
            together = [waiting.pop()]
            if waiting and may_meet(together[0], waiting[-1]) and rng.random() < TOGETHER:
                together.append(waiting.pop())
            steps.append(together)
    return steps


def may_meet(one: Fault, other: Fault) -> bool:
    """Whether both may strike at once: they are of different kinds, and what is timed is alone."""
    if one.kind == other.kind:
        return False
    return not ((one.judged and other.on_path) or (other.judged and one.on_path))
