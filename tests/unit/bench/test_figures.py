"""Statistics of the benchmark."""

from __future__ import annotations

import pytest

from tests.bench.figures import Latency, Row, Sample, Spread, cost_ratio, percentile, ratio
from tests.bench.targets import TARGETS, reached


def row(key: str, rates: list[float], baseline: str = "", p99_ms: float = 1.0) -> Row:
    samples = tuple(Sample(rate, Latency(0.5, p99_ms)) for rate in rates)
    return Row(key, "section", key, "transfers", baseline, samples)


def by_key(*rows: Row) -> dict[str, Row]:
    return {one.key: one for one in rows}


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0, 1.0), (1, 1.0), (50, 50.0), (99, 99.0), (99.5, 100.0), (100, 100.0)],
)
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], percent) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 1) == percentile([7.0], 99) == 7.0


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_latency_sorts_and_turns_seconds_into_milliseconds() -> None:
    assert Latency.of([0.003, 0.001, 0.002]) == Latency(2.0, 3.0)


def test_spread_is_median_lowest_and_highest() -> None:
    assert Spread.over([30.0, 10.0, 20.0]) == Spread(20.0, 10.0, 30.0)


def test_spread_of_an_even_number_lies_between_the_middle_two() -> None:
    assert Spread.over([10.0, 40.0, 20.0, 30.0]) == Spread(25.0, 10.0, 40.0)


@pytest.mark.parametrize("values", [[], [None], [1.0, None]])
def test_a_missing_repetition_gives_no_spread(values: list[float | None]) -> None:
    assert Spread.over(values) is None


def test_ratio_divides_the_medians() -> None:
    base, own = row("raw", [100.0, 400.0, 200.0]), row("bulk", [90.0, 120.0, 100.0], "raw")
    assert ratio(own, by_key(base, own)) == 0.5


def test_ratio_needs_the_baseline_in_the_same_run() -> None:
    own = row("bulk", [90.0], "raw")
    assert ratio(own, by_key(own)) is None
    assert ratio(row("raw", [1.0]), {}) is None


def test_cost_ratio_compares_the_processor_time_of_all_parts() -> None:
    base = Row("raw", "s", "l", "u", "", (Sample(cpu_us={"postgres": 30.0, "load": 10.0}),))
    own = Row("bulk", "s", "l", "u", "raw", (Sample(cpu_us={"postgres": 30.0, "command": 50.0}),))
    assert cost_ratio(own, by_key(base, own)) == 0.5
    assert cost_ratio(own, by_key(own)) is None
    assert cost_ratio(row("bulk", [1.0], "raw"), by_key(base)) is None


def test_processor_time_is_the_median_by_part_and_absent_means_none() -> None:
    samples = (
        Sample(cpu_us={"postgres": 30.0}),
        Sample(cpu_us={"postgres": 10.0, "redis": 2.0}),
        Sample(cpu_us={"postgres": 20.0}),
    )
    assert Row("k", "s", "l", "u", "", samples).cpu_us == {"postgres": 20.0, "redis": 0.0}


def test_notes_are_told_once() -> None:
    samples = (Sample(note="slow"), Sample(), Sample(note="slow"), Sample(note="late"))
    assert Row("k", "s", "l", "u", "", samples).notes == ("slow", "late")


def test_a_row_with_a_failed_repetition_has_no_figures_but_says_why() -> None:
    samples = (
        Sample(10.0, Latency(1.0, 2.0), {"postgres": 4.0}),
        Sample(failure="it broke"),
        Sample(failure="it broke"),
    )
    failed = Row("k", "s", "l", "u", "", samples)
    assert failed.failed
    assert (failed.rate, failed.p50_ms, failed.p99_ms) == (None, None, None)
    assert failed.cpu_us == {"postgres": 4.0}
    assert failed.notes == ("not measured: it broke",)


@pytest.mark.parametrize(
    ("echo", "rate", "p99_ms", "expected"),
    [
        (1_000.0, 450.0, 60.0, True),
        (1_000.0, 449.0, 60.0, False),
        (1_000.0, 450.0, 60.1, False),
    ],
)
def test_a_target_is_reached_when_every_bound_is_kept(
    echo: float, rate: float, p99_ms: float, expected: bool
) -> None:
    own = row("unary-64", [rate], "echo-2-64", p99_ms)
    assert reached(own, by_key(row("echo-2-64", [echo]), own)) is expected


def test_a_share_without_its_baseline_is_neither_reached_nor_missed() -> None:
    own = row("unary-64", [10_000.0], "echo-2-64")
    assert reached(own, by_key(own)) is None


@pytest.mark.parametrize(("beside_ms", "expected"), [(30.0, True), (30.1, False)])
def test_a_latency_may_be_bounded_by_that_of_the_baseline(beside_ms: float, expected: bool) -> None:
    alone = row("light", [50.0], "", 10.0)
    beside = row("light-flooded", [50.0], "light", beside_ms)
    assert reached(beside, by_key(alone, beside)) is expected
    assert reached(beside, by_key(beside)) is None


def test_a_row_without_a_target_has_no_verdict() -> None:
    assert reached(row("other", [1.0]), {}) is None


def test_every_target_says_what_it_is() -> None:
    assert all(target.text() for target in TARGETS.values())
