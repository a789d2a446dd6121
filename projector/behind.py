"""How far a sink is behind the journal, asked whenever somebody looks: it rises by itself."""

from __future__ import annotations

from math import nan

from paycore.runtime.clock import Clock
from projector.metrics import BEHIND_SECONDS


class Behind:
    """Of one sink, as this process knows it."""

    def __init__(self, sink: str, clock: Clock) -> None:
        self._clock = clock
        self._complete_until_us: int | None = None
        BEHIND_SECONDS.labels(sink).set_function(self._seconds)

    def reached(self, complete_until_us: int) -> None:
        """The sink has taken all that was written until then, in microseconds since 1970."""
        self._complete_until_us = complete_until_us

    def not_leading(self) -> None:
        """Another process feeds the sink."""
        self._complete_until_us = None

    def _seconds(self) -> float:
        until_us = self._complete_until_us
        return nan if until_us is None else max(0, self._clock.now_us() - until_us) / 1e6
