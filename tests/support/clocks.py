"""Clocks that a test turns by hand."""

from __future__ import annotations

from dataclasses import dataclass

from paycore.runtime.clock import SystemClock


@dataclass
class ManualClock:
    """Stands still unless told."""

    at_s: float = 1_000.0

    def now_us(self) -> int:
        return int(self.at_s * 1_000_000)

    def monotonic_s(self) -> float:
        return self.at_s


class ShiftedClock:
    """The machine's clocks, shifted as the test says; each look may cost time as well.

    With `wall_only` the monotonic one goes on as it does: time has not passed, the date is another.
    """

    def __init__(self, *, per_look_s: float = 0.0, wall_only: bool = False) -> None:
        self._real = SystemClock()
        self._wall_only = wall_only
        self._per_look_s = per_look_s
        self.shift_s = 0.0

    def now_us(self) -> int:
        return self._real.now_us() + int(self.shift_s * 1_000_000)

    def monotonic_s(self) -> float:
        self.shift_s += self._per_look_s
        return self._real.monotonic_s() + (0.0 if self._wall_only else self.shift_s)
