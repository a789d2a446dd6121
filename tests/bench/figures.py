"""What a measurement yields, and the statistics over its repetitions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of one repetition, in milliseconds."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """The percentiles of times in seconds. Raises ValueError when there is none."""
        ordered = sorted(seconds)
        return cls(percentile(ordered, 50) * 1_000, percentile(ordered, 99) * 1_000)


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition."""

    rate: float | None = None
    """Per second, in the unit of its row."""
    latency: Latency | None = None
    cpu_us: Mapping[str, float] = field(default_factory=dict)
    """Processor time by part, in microseconds per transfer or call."""
    note: str = ""
    failure: str = ""
    """Why there are no figures, where there are none."""


@dataclass(frozen=True, slots=True)
class Row:
    """All repetitions of one measurement."""

    key: str
    section: str
    label: str
    unit: str
    """What `rate` counts per second; empty where there is no rate."""
    baseline: str
    """Key of the row that its rate is a share of, or empty."""
    samples: tuple[Sample, ...]

    @property
    def rate(self) -> Spread | None:
        return Spread.over([sample.rate for sample in self.samples])

    @property
    def p50_ms(self) -> Spread | None:
        return Spread.over([one.latency.p50_ms if one.latency else None for one in self.samples])

    @property
    def p99_ms(self) -> Spread | None:
        return Spread.over([one.latency.p99_ms if one.latency else None for one in self.samples])

    @property
    def cpu_us(self) -> dict[str, float]:
        """Median processor time by part, in microseconds per transfer or call."""
        parts = dict.fromkeys(part for sample in self.samples for part in sample.cpu_us)
        return {
            part: statistics.median(
                sample.cpu_us.get(part, 0.0) for sample in self.samples if not sample.failure
            )
            for part in parts
        }

    @property
    def whole_cpu_us(self) -> float:
        """Median processor time of all parts and the load generator together."""
        return statistics.median(
            sum(sample.cpu_us.values()) for sample in self.samples if not sample.failure
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the repetitions had to say, each once."""
        said = (
            f"not measured: {sample.failure}" if sample.failure else sample.note
            for sample in self.samples
        )
        return tuple(dict.fromkeys(text for text in said if text))

    @property
    def failed(self) -> bool:
        """A repetition could not be measured: the row has no figures then."""
        return any(sample.failure for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the repetitions."""

    median: float
    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float | None]) -> Spread | None:
        """The spread of `values`; None when one of them is missing or there is none."""
        found = [value for value in values if value is not None]
        if not found or len(found) != len(values):
            return None
        return cls(statistics.median(found), min(found), max(found))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the sorted values do not exceed.

    Nearest rank: always one of the values. Raises ValueError when there is none.
    """
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def ratio(row: Row, rows: Mapping[str, Row]) -> float | None:
    """The median rate of `row` as a share of its baseline's, where both were measured."""
    base = rows.get(row.baseline)
    if base is None or row.rate is None or base.rate is None or base.rate.median == 0:
        return None
    return row.rate.median / base.rate.median


def cost_ratio(row: Row, rows: Mapping[str, Row]) -> float | None:
    """What the baseline costs in processor time, as a share of what `row` costs.

    It is the share that `row` would reach on a machine that does nothing else, where both keep all
    cores busy; other users of the machine disturb it far less than they disturb rates.
    """
    base = rows.get(row.baseline)
    if base is None or not base.cpu_us or not row.cpu_us:
        return None
    return base.whole_cpu_us / row.whole_cpu_us
