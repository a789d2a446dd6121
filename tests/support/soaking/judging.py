"""Which processes grow: each figure's trend after the warm-up against a stated bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.support.soaking.flatness import Bound, Trend, trend
from tests.support.soaking.samples import Needs, Samples

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is no growth, over the time that is judged."""

    warm_up: float
    """Share of the run that is not judged: pools, caches and arenas are being filled."""
    resident: Bound
    descriptors: Bound


STRICT = Bounds(0.3, Bound(0.03, 3 * MIB), Bound(0.0, 4))
SHORT = Bounds(0.3, Bound(0.25, 8 * MIB), Bound(0.0, 40))
"""Of a round of seconds: it shows that the judging works, and what grows by leaps."""

HOLDS_DATA = "redis"
"""Its memory is the data itself, which grows up to the stream's bound: shown, not judged."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How one figure of one process went."""

    process: str
    figure: str
    trend: Trend
    bound: Bound
    scale: float
    """Of a figure as it is shown."""

    @property
    def held(self) -> bool:
        return self.bound.allows(self.trend)

    @property
    def line(self) -> str:
        level, growth = self.trend.level / self.scale, self.trend.growth / self.scale
        return (
            f"{self.process}: {self.figure} {level:,.1f}, grown by {growth:+,.2f}"
            f" in {self.trend.span_s:,.0f} s"
        )


def judge(samples: Samples, bounds: Bounds) -> list[Growth]:
    """Every figure that is judged, of every process that was there long enough."""
    return list(_growth(samples, bounds))


def _growth(samples: Samples, bounds: Bounds) -> Iterator[Growth]:
    def one(
        process: str, figure: str, seen: Sequence[Needs], of: Callable[[Needs], int], bound: Bound
    ) -> Iterator[Growth]:
        found = trend([(needs.at_s, of(needs)) for needs in seen], bounds.warm_up)
        if found is not None:
            scale = 1.0 if bound is bounds.descriptors else float(MIB)
            yield Growth(process, figure, found, bound, scale)

    for (part, pid), seen in samples.of_service():
        name = f"{part} {pid}"
        yield from one(name, "resident MiB", seen, lambda needs: needs.resident, bounds.resident)
        yield from one(
            name, "open files", seen, lambda needs: needs.descriptors, bounds.descriptors
        )
    for part, seen in samples.of_stores().items():
        if part != HOLDS_DATA:
            # Files that it maps, and memory that its processes share, grow with the data.
            yield from one(part, "private MiB", seen, lambda needs: needs.private, bounds.resident)
