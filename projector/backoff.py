"""Waits between attempts: rising, capped, and spread by chance."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Delays that double from `first_s` up to `cap_s`, each shortened by up to half at random."""

    first_s: float
    cap_s: float
    chance: random.Random
    _ceiling_s: float = 0.0

    def next_s(self) -> float:
        """The next delay, in seconds."""
        self._ceiling_s = min(self.cap_s, self._ceiling_s * 2 or self.first_s)
        return self._ceiling_s * self.chance.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin again with the shortest delay."""
        self._ceiling_s = 0.0
