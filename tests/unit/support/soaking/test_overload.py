"""When latency is as usual again: from when on it stays so."""

from __future__ import annotations

import pytest

from tests.support.soaking.overload import Overload, Phases
from tests.support.soaking.pace import Measured, Seen
from tests.support.soaking.samples import Samples

PHASES = Phases(before_s=10, flood_s=20, after_s=30)


def overload(*after: tuple[float, float, str]) -> Overload:
    """Usual calls of 20 ms before the flood, and `after` it: seconds after its end, time taken,
    trouble."""
    usual = Measured([Seen("usual", at / 10, 0.02, "") for at in range(100)])
    # During the flood all is late; nobody looks at it.
    usual.calls += [Seen("usual", float(at), 4.0, "") for at in range(10, 30)]
    usual.calls += [Seen("usual", PHASES.calm_from_s + at / 10, 0.03, "") for at in range(300)]
    usual.calls += [Seen("usual", PHASES.calm_from_s + at, took, why) for at, took, why in after]
    return Overload(10.0, PHASES, usual, Measured(), [], Samples(), "")


@pytest.mark.parametrize(
    ("after", "back_after_s"),
    [
        ((), 0),
        (((0.5, 3.0, ""),), 2),
        (((0.5, 3.0, ""), (7.0, 0.2, "")), 8),
        (((3.0, 0.01, "OVERLOADED"),), 4),
        (((29.5, 3.0, ""),), None),
    ],
)
def test_it_is_back_when_no_later_stretch_is_late_or_unanswered(
    after: tuple[tuple[float, float, str], ...], back_after_s: float | None
) -> None:
    seen = overload(*after)
    assert seen.usual_p99_s == 0.02
    assert seen.back_after_s(0.1) == back_after_s


def test_three_times_the_usual_is_usual_where_that_is_more() -> None:
    assert overload().bound_s(0.01) == pytest.approx(0.06)
    assert overload().bound_s(0.1) == 0.1
