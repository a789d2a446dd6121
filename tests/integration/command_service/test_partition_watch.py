"""A ledger that runs out of partitions says so early, in a figure and in the log."""

from __future__ import annotations

import math

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from typer.testing import CliRunner

from command_service.posting.partition_watch import WARN_BELOW_S, PartitionWatch
from operations.migrate.__main__ import app
from operations.migrate.partitions import covered_until
from tests.support.clocks import ManualClock
from tests.support.command_core import CommandCore
from tests.support.databases import OwnDatabase

GAUGE = "paycore_transfer_partitions_end_seconds"


def shown() -> float:
    value = REGISTRY.get_sample_value(GAUGE)
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("left_s", "warnings"), [(WARN_BELOW_S, 0), (WARN_BELOW_S - 1, 1), (-86_400.0, 1)]
)
async def test_it_warns_below_its_bound_and_the_gauge_runs_down(
    core: CommandCore, database: OwnDatabase, left_s: float, warnings: int
) -> None:
    until = covered_until(database.dsn("owner"))
    clock = ManualClock(until.timestamp() - left_s)
    watch = PartitionWatch(core.pool, clock)
    assert math.isnan(shown())
    with capture_logs() as logs:
        await watch.look()
    assert shown() == pytest.approx(left_s)
    clock.at_s += 100
    assert shown() == pytest.approx(left_s - 100)
    told = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [entry["until"] for entry in told] == [until.date().isoformat()] * warnings


def test_the_job_says_what_it_does() -> None:
    said = " ".join(CliRunner().invoke(app, ["partitions", "--help"]).output.split())
    for part in ("one for each month that has none", "Run it every day", "--months-ahead", "--dsn"):
        assert part in said
