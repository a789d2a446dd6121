"""Which faults strike, in which order: by the seed alone."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tests.support.crashing.faults import Fault

SHORT_KILLS = 3
SHORT_POINTS = 4


def short_plan(faults: Sequence[Fault], rng: random.Random) -> list[Fault]:
    """A few of each kind, none that takes long."""
    by_kind: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        if not fault.long:
            by_kind[fault.kind].append(fault)
    many = {"killed": SHORT_KILLS, "fail point": SHORT_POINTS}
    chosen = [
        fault for kind, found in by_kind.items() for fault in rng.sample(found, many.get(kind, 1))
    ]
    rng.shuffle(chosen)
    return chosen


def long_plan(faults: Iterable[Fault], rng: random.Random, rounds: int) -> Iterator[list[Fault]]:
    """Everything once a round; now and then two faults at once, of different kinds."""
    for _ in range(rounds):
        waiting = list(faults)
        rng.shuffle(waiting)
        while waiting:
            together = [waiting.pop()]
            if waiting and waiting[-1].kind != together[0].kind and rng.random() < 0.2:
                together.append(waiting.pop())
            yield together
