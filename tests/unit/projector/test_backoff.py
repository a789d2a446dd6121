"""Delays rise, are capped, and vary."""

from __future__ import annotations

import random

from projector.backoff import Backoff


def test_delays_double_up_to_the_cap_and_are_shortened_by_at_most_half() -> None:
    backoff = Backoff(0.1, 1.0, random.Random(3))
    ceilings = [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    delays = [backoff.next_s() for _ in ceilings]
    for delay, ceiling in zip(delays, ceilings, strict=True):
        assert ceiling / 2 <= delay <= ceiling
    assert len(set(delays)) == len(delays)


def test_it_begins_anew_after_a_reset() -> None:
    backoff = Backoff(0.1, 1.0, random.Random(3))
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.1
