"""When what failed is sent again."""

from __future__ import annotations

import random

import pytest

from projector.webhooks.schedule import (
    LONGEST_ASKED_S,
    SCHEDULE_S,
    SPREAD,
    next_wait_s,
    retry_after_s,
)

NOW_S = 1_000_000_000.0


def test_the_schedule_spreads_over_a_day_and_ends() -> None:
    assert 80_000 < sum(SCHEDULE_S) < 90_000
    chance = random.Random(7)
    for tried, wait_s in enumerate(SCHEDULE_S, start=1):
        waits = [next_wait_s(SCHEDULE_S, tried, None, chance) for _ in range(50)]
        assert all(one is not None and wait_s <= one <= wait_s * (1 + SPREAD) for one in waits)
        assert len(set(waits)) > 40
    assert next_wait_s(SCHEDULE_S, len(SCHEDULE_S) + 1, None, chance) is None
    assert next_wait_s(SCHEDULE_S, len(SCHEDULE_S) + 1, 5.0, chance) is None


def test_an_endpoint_can_ask_for_longer_within_bounds() -> None:
    chance = random.Random(7)
    assert next_wait_s(SCHEDULE_S, 1, 100.0, chance) == 100.0
    assert next_wait_s(SCHEDULE_S, 1, 1e9, chance) == LONGEST_ASKED_S
    asked = next_wait_s(SCHEDULE_S, 1, 0.0, chance)
    assert asked is not None
    assert asked >= SCHEDULE_S[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 09 Sep 2001 01:47:40 GMT", 60.0),
        ("Sun, 09 Sep 2001 01:46:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 65, None),
        ("Sun, 99 Sep 2001 01:46:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(
    value: str | None, expected: float | None
) -> None:
    assert retry_after_s(value, NOW_S) == expected
