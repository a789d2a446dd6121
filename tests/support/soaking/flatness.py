"""Whether a figure grows: a slope after the warm-up, held against a stated bound."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

MOST_POINTS = 300
"""Of more, every so manieth is taken: slopes are of every pair."""

LEAST_POINTS = 6
FIFTH = 0.2


@dataclass(frozen=True, slots=True)
class Trend:
    """How a figure went over the time that is judged."""

    level: float
    """Its median."""
    slope: float
    """Per second: the median over all pairs of points (Theil and Sen), so that neither peaks nor a
    saw-tooth make one."""
    step: float
    """The median of the last fifth less that of the first: what one jump in between adds."""
    span_s: float

    @property
    def growth(self) -> float:
        """Over the time judged, in the figure's unit: the larger of slope and step."""
        return max(self.slope * self.span_s, self.step)


@dataclass(frozen=True, slots=True)
class Bound:
    """How much growth over the time judged is none."""

    share: float
    """Of the level."""
    least: float
    """On top, in the figure's unit."""

    def allows(self, trend: Trend) -> bool:
        return trend.growth <= self.share * trend.level + self.least


def trend(points: Sequence[tuple[float, float]], warm_up: float) -> Trend | None:
    """Of (second, value) in order of time; the first `warm_up` of the time is not looked at.

    None where fewer than LEAST_POINTS are left: nothing can be said of those.
    """
    if not points:
        return None
    first, last = points[0][0], points[-1][0]
    after = [one for one in points if one[0] >= first + warm_up * (last - first)]
    if len(after) < LEAST_POINTS:
        return None
    some = after[:: -(-len(after) // MOST_POINTS)]
    slopes = [
        (value - earlier) / (at - before)
        for (before, earlier), (at, value) in combinations(some, 2)
        if at > before
    ]
    values = [value for _, value in after]
    part = max(1, int(FIFTH * len(values)))
    return Trend(
        statistics.median(values),
        statistics.median(slopes),
        statistics.median(values[-part:]) - statistics.median(values[:part]),
        after[-1][0] - after[0][0],
    )
