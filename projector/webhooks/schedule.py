"""When a delivery that failed is sent again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

SCHEDULE_S: tuple[float, ...] = (
    5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800,
)  # fmt: skip
"""After the first failure, the second and so on, in seconds: a day in all. After the last one the
delivery is dead."""

SPREAD = 0.2
"""Up to this part of a wait is added at random: what failed together is not sent together."""

LONGEST_ASKED_S = 28_800.0
"""The most that an endpoint can ask to wait with Retry-After, in seconds."""


def next_wait_s(
    schedule: Sequence[float], tried: int, asked_s: float | None, chance: random.Random
) -> float | None:
    """Seconds until the attempt after `tried` that failed; None where there is none.

    `asked_s` is what the endpoint asked to be given: it can only make the wait longer.
    """
    if tried > len(schedule):
        return None
    wait_s = schedule[max(0, tried - 1)] * (1 + SPREAD * chance.random())
    return wait_s if asked_s is None else max(wait_s, min(asked_s, LONGEST_ASKED_S))


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3); None where it is none."""
    if value is None or len(value) > 64:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now_s)
