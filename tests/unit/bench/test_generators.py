"""Reading what ghz reports."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.ghz.program import Outcome
from tests.bench.errors import BenchError
from tests.bench.figures import Latency
from tests.bench.generators import Result, ghz_result


def report(codes: dict[str, int]) -> Outcome:
    said: dict[str, Any] = {
        "rps": 1234.5,
        "statusCodeDistribution": codes,
        "latencyDistribution": [
            {"percentage": 50, "latency": 1_500_000},
            {"percentage": 99, "latency": 40_000_000},
        ],
    }
    return Outcome.of(said)


def test_times_are_turned_from_nanoseconds() -> None:
    assert ghz_result(report({"OK": 10}), 10) == Result(1234.5, Latency(1.5, 40.0))


@pytest.mark.parametrize("codes", [{"OK": 9}, {"OK": 9, "Unavailable": 1}, {}])
def test_a_run_with_failed_or_missing_calls_measures_nothing(codes: dict[str, int]) -> None:
    with pytest.raises(BenchError, match="not every call"):
        ghz_result(report(codes), 10)
