"""How late the sink was over the last minutes, in bounded memory."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from paycore.runtime.clock import Clock

WINDOW_S = 300
SLOT_S = 10
"""The window moves in steps of this."""

_PRECISION_BITS = 5
"""Leading bits that are kept of a time: a percentile is at most a sixteenth too high."""


class LagSummary(NamedTuple):
    """Over the journal rows of the last `window_us` before `measured_at_us`, in microseconds."""

    transactions: int
    p50_us: int
    p95_us: int
    p99_us: int
    max_us: int
    window_us: int
    measured_at_us: int


@dataclass(slots=True)
class _Slot:
    number: int
    rows: Counter[int] = field(default_factory=Counter)
    """By the largest time that is counted with them."""
    longest_us: int = 0


class LagWindow:
    """Counts times, from a journal row's writing until it could be found."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: deque[_Slot] = deque()

    def observe(self, lag_us: int) -> None:
        """Count one journal row, which could be found now."""
        number = self._number()
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(_Slot(number))
            self._forget(number)
        slot = self._slots[-1]
        slot.rows[_rounded_up(lag_us)] += 1
        slot.longest_us = max(slot.longest_us, lag_us)

    def summary(self) -> LagSummary | None:
        """Percentiles over the window; None where there was nothing in it."""
        self._forget(self._number())
        rows: Counter[int] = sum((slot.rows for slot in self._slots), Counter())
        if not rows:
            return None
        longest_us = max(slot.longest_us for slot in self._slots)
        p50_us, p95_us, p99_us = (
            min(longest_us, _percentile(rows, percent)) for percent in (50, 95, 99)
        )
        return LagSummary(
            rows.total(),
            p50_us,
            p95_us,
            p99_us,
            longest_us,
            WINDOW_S * 1_000_000,
            self._clock.now_us(),
        )

    def _number(self) -> int:
        return int(self._clock.monotonic_s() // SLOT_S)

    def _forget(self, number: int) -> None:
        while self._slots and self._slots[0].number <= number - WINDOW_S // SLOT_S:
            self._slots.popleft()


def _rounded_up(lag_us: int) -> int:
    """The largest time with the same leading bits."""
    dropped = max(0, lag_us.bit_length() - _PRECISION_BITS)
    return ((lag_us >> dropped) + 1 << dropped) - 1


def _percentile(rows: Counter[int], percent: int) -> int:
    """Nearest rank: the smallest time that at least `percent` of the rows did not exceed."""
    rank = -(-rows.total() * percent // 100)
    for lag_us in sorted(rows):
        rank -= rows[lag_us]
        if rank <= 0:
            return lag_us
    raise AssertionError("a rank is at most the number of rows")
