"""Work that is repeated until it succeeds, while health and metrics tell why it does not."""

from __future__ import annotations

import asyncio
import random

from projector.backoff import Backoff
from projector.metrics import RETRIES
from projector.readiness import Readiness

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 5.0


class Persistence:
    """Waits between the attempts of one sink, and tells of them."""

    def __init__(self, readiness: Readiness, chance: random.Random) -> None:
        self._readiness = readiness
        self._chance = chance

    def backoff(self) -> Backoff:
        """Delays for one piece of work."""
        return Backoff(FIRST_DELAY_S, LONGEST_DELAY_S, self._chance)

    async def pause(self, step: str, cause: str, backoff: Backoff) -> None:
        """Say that `step` failed for `cause`, and wait before it is tried again."""
        RETRIES.labels(self._readiness.sink, step, cause).inc()
        self._readiness.obstructed(step, cause)
        await asyncio.sleep(backoff.next_s())

    def cleared(self, step: str) -> None:
        """Say that `step` works."""
        self._readiness.cleared(step)
