"""What counts as growth, and what does not."""

from __future__ import annotations

import random

from tests.support.soaking.flatness import Bound, trend
from tests.support.soaking.judging import MIB, SHORT, STRICT, judge
from tests.support.soaking.samples import Needs, Samples

HOUR = 3_600


def series(value: object, seconds: int = HOUR) -> list[tuple[float, float]]:
    return [(float(at), float(value(at))) for at in range(0, seconds, 5)]  # type: ignore[operator]


def test_a_steady_leak_grows_by_what_it_leaks() -> None:
    found = trend(series(lambda at: 100 + at / 100), warm_up=0.5)
    assert found is not None
    assert round(found.slope, 6) == 0.01
    assert round(found.growth) == round(0.01 * found.span_s)


def test_noise_and_a_saw_tooth_do_not_grow() -> None:
    rng = random.Random(1)
    for value in (lambda _: 100 + rng.gauss(0, 5), lambda at: 100 + at % 300 / 10):
        found = trend(series(value), warm_up=0.3)
        assert found is not None
        assert Bound(0.05, 0).allows(found)


def test_what_is_filled_during_the_warm_up_is_no_growth() -> None:
    found = trend(series(lambda at: min(at, 1_000)), warm_up=0.3)
    assert found is not None
    assert found.growth == 0


def test_one_jump_is_growth() -> None:
    found = trend(series(lambda at: 100 if at < 0.6 * HOUR else 130), warm_up=0.3)
    assert found is not None
    assert found.growth == 30
    assert not Bound(0.05, 4).allows(found)


def test_what_shrinks_does_not_grow() -> None:
    found = trend(series(lambda at: 200 - at / 100), warm_up=0.3)
    assert found is not None
    assert Bound(0.0, 0.0).allows(found)


def test_of_too_few_points_nothing_is_said() -> None:
    assert trend([], warm_up=0.3) is None
    assert trend(series(lambda _: 1, seconds=30), warm_up=0.3) is None


def samples(resident: object, descriptors: object = lambda _: 50) -> Samples:
    found = Samples()
    found.needs["command", 7] = [
        Needs(float(at), int(resident(at)), 1, int(descriptors(at)))  # type: ignore[operator]
        for at in range(0, HOUR, 5)
    ]
    return found


def test_a_process_that_leaks_a_hundred_bytes_a_call_is_found() -> None:
    """At 40 calls a second: 14 MB in an hour."""
    bad = judge(samples(lambda at: 120 * MIB + at * 40 * 100), STRICT)
    assert [(one.figure, one.held) for one in bad] == [
        ("resident MiB", False),
        ("open files", True),
    ]
    assert bad[0].line.startswith("command 7: resident MiB")


def test_a_process_that_leaks_a_descriptor_every_ten_minutes_is_found() -> None:
    bad = judge(samples(lambda _: 120 * MIB, lambda at: 50 + at // 500), STRICT)
    assert [one.held for one in bad] == [True, False]


def test_a_store_is_judged_by_what_is_private_and_one_that_holds_the_data_is_not() -> None:
    found = Samples()
    for part in ("redis", "postgres"):
        found.needs[part, 1] = [
            Needs(float(at), at * MIB, at * MIB, at) for at in range(0, HOUR, 5)
        ]
    assert [(one.process, one.figure, one.held) for one in judge(found, SHORT)] == [
        ("postgres", "private MiB", False)
    ]
