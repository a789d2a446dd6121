"""Metrics on, off, or only counted: of this process, by replacing what is called.

Off is for the benchmark only: everything that is there for metrics alone does nothing, but for two
looks at the clock a call.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import asyncpg
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from command_service.posting import metrics
from paycore.runtime.pools import MeasuredPool


class Mode(StrEnum):
    """In the order in which one follows the other."""

    ON = "on"
    OFF = "off"
    COUNTED = "counted"
    """On, and each call is counted, which costs more: not to be timed."""


SAMPLES = ((Counter, "inc"), (Gauge, "inc"), (Gauge, "dec"), (Gauge, "set"), (Histogram, "observe"))
"""What each sample of a metric calls."""

BESIDE = ((metrics, "count"), (metrics, "started"))
"""What gathers samples and does nothing else."""


class Switch:
    """Begins on."""

    def __init__(self) -> None:
        self.mode = Mode.ON
        self.calls: Tally[str] = Tally()
        """How often what was called while the mode was COUNTED."""
        self._real = {(owner, name): getattr(owner, name) for owner, name in SAMPLES + BESIDE}
        self._acquire = MeasuredPool._acquire
        self._labels = MetricWrapperBase.labels

    def turn(self) -> Mode:
        """Go on to the next mode."""
        modes = list(Mode)
        self.mode = modes[(modes.index(self.mode) + 1) % len(modes)]
        for (owner, name), real in self._real.items():
            setattr(owner, name, self._of(f"{_named(owner)}.{name}", real, None))
        off = self.mode is Mode.OFF
        MeasuredPool._acquire = asyncpg.Pool._acquire if off else self._acquire  # type: ignore[method-assign]
        labels: Any = self._of("labels", self._labels, _NOTHING)
        MetricWrapperBase.labels = labels  # type: ignore[method-assign]
        return self.mode

    def _of(self, name: str, real: Callable[..., Any], nothing: Any) -> Callable[..., Any]:
        def none(*_: object, **__: object) -> Any:
            return nothing

        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            return real(*arguments, **named)

        return {Mode.ON: real, Mode.OFF: none, Mode.COUNTED: counted}[self.mode]


class _Nothing:
    """A metric of which nothing is kept."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


_NOTHING = _Nothing()


def _named(owner: Any) -> str:
    return str(owner.__name__).rpartition(".")[2]
