"""What must be reached: the first column of the design's performance table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.bench.figures import Row, ratio


@dataclass(frozen=True, slots=True)
class Target:
    """Bounds on the medians of one row; None where there is none."""

    rate: float | None = None
    """At least, per second."""
    ratio: float | None = None
    """At least, of the baseline's rate."""
    p99_ms: float | None = None
    """At most, in milliseconds."""
    p99_times: float | None = None
    """At most, of the baseline's p99."""

    def text(self) -> str:
        bounds = []
        if self.rate is not None:
            bounds.append(f"{self.rate:,.0f}/s")
        if self.ratio is not None:
            bounds.append(f"{self.ratio:.0%}")
        if self.p99_ms is not None:
            bounds.append(f"p99 {self.p99_ms:,.0f} ms")
        if self.p99_times is not None:
            bounds.append(f"p99 {self.p99_times:g} times")
        return ", ".join(bounds)


TARGETS: Mapping[str, Target] = {
    "raw": Target(rate=25_000),
    "bulk-alone": Target(ratio=0.60),
    "unary-64": Target(ratio=0.45, p99_ms=60),
    "hot-64": Target(rate=2_000),
    "lag": Target(p99_ms=500),
    "lag-lone": Target(p99_ms=150),
    "catching-up": Target(rate=8_000),
    "rebuild": Target(rate=10_000),
    "page-first-1": Target(p99_ms=20),
    "stream": Target(rate=10_000),
    "group": Target(p99_ms=150),
    "light-flooded": Target(p99_times=3),
    "step-up-device": Target(rate=800),
    "step-up-pin": Target(ratio=0.80),
    # Together less than a fifth: the product of both is 80%.
    "layers-identity": Target(ratio=0.92),
    "layers-rates": Target(ratio=0.87),
}


def reached(row: Row, rows: Mapping[str, Row]) -> bool | None:
    """Whether the row's medians keep its target; None where it has none or cannot be compared."""
    target = TARGETS.get(row.key)
    if target is None:
        return None
    verdicts: list[bool] = []
    if target.rate is not None:
        if row.rate is None:
            return None
        verdicts.append(row.rate.median >= target.rate)
    if target.ratio is not None:
        share = ratio(row, rows)
        if share is None:
            return None
        verdicts.append(share >= target.ratio)
    if target.p99_ms is not None:
        if row.p99_ms is None:
            return None
        verdicts.append(row.p99_ms.median <= target.p99_ms)
    if target.p99_times is not None:
        base = rows.get(row.baseline)
        if row.p99_ms is None or base is None or base.p99_ms is None:
            return None
        verdicts.append(row.p99_ms.median <= target.p99_times * base.p99_ms.median)
    return all(verdicts)
