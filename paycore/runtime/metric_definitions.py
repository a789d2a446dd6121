"""Definitions of metrics: each is said once, for Prometheus, for docs/metrics.md and for alerts.

Names follow Prometheus: base units, `_total` for what only rises, and labels whose values are known
beforehand: enum values, or names that the code or the deployment gives. Never what a caller sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

SECONDS = "seconds"
TIMESTAMP = "seconds since 1970 UTC"
FLAG = "0 or 1"

MOST_AT_ZERO = 64
"""Series that a counter shows from the start."""


class Kind(StrEnum):
    """What Prometheus calls its type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Named:
    """Values of a label that are as many as the code or the deployment names, in words."""

    text: str


Values = tuple[str, ...] | Named


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric of this process."""

    name: str
    kind: Kind
    text: str
    """What it tells, in one or two sentences."""
    unit: str
    """SECONDS, TIMESTAMP, FLAG, or what is counted."""
    labels: Mapping[str, Values]


DEFINITIONS: dict[str, Definition] = {}
"""Those of the modules that this process has imported, by name."""

METHOD = Named("a method that the process serves, by its full name")


def of(*kinds: type[StrEnum] | str) -> tuple[str, ...]:
    """The values of enums, and single ones beside them."""
    values: list[str] = []
    for kind in kinds:
        values += [kind] if isinstance(kind, str) else [one.value for one in kind]
    return tuple(dict.fromkeys(values))


def counter(
    name: str,
    text: str,
    *,
    unit: str,
    labels: Mapping[str, Values] | None = None,
    at_zero: bool = True,
) -> Counter:
    """A counter. Where all values of its labels are known, each series is there from the start, so
    that the first event is an increase; unless `at_zero` is false, as where no process has all."""
    labels = labels or {}
    _defined(name, Kind.COUNTER, text, unit, labels)
    made = Counter(name, text, tuple(labels))
    if at_zero and labels:
        for values in _known(labels):
            made.labels(*values)
    return made


def gauge(
    name: str,
    text: str,
    *,
    unit: str,
    labels: Mapping[str, Values] | None = None,
    registry: CollectorRegistry = REGISTRY,
) -> Gauge:
    """A gauge, shown by what shows `registry`: by default the process's endpoint."""
    labels = labels or {}
    _defined(name, Kind.GAUGE, text, unit, labels)
    return Gauge(name, text, tuple(labels), registry=registry)


def histogram(
    name: str,
    text: str,
    *,
    unit: str,
    buckets: Sequence[float],
    labels: Mapping[str, Values] | None = None,
) -> Histogram:
    """A histogram; `buckets` are upper bounds in `unit`."""
    labels = labels or {}
    _defined(name, Kind.HISTOGRAM, text, unit, labels)
    return Histogram(name, text, tuple(labels), buckets=buckets)


def _defined(name: str, kind: Kind, text: str, unit: str, labels: Mapping[str, Values]) -> None:
    DEFINITIONS[name] = Definition(name, kind, text, unit, dict(labels))


def _known(labels: Mapping[str, Values]) -> Iterable[tuple[str, ...]]:
    """All combinations, where they are known and few."""
    values: list[tuple[str, ...]] = []
    for each in labels.values():
        if isinstance(each, Named):
            return ()
        values.append(each)
    combinations = list(product(*values))
    return combinations if len(combinations) <= MOST_AT_ZERO else ()
