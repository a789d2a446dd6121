"""What the query service shows besides the metrics that every process has."""

from __future__ import annotations

from paycore.runtime.metric_definitions import SECONDS, counter, gauge
from query_service.grants import GrantsLoader
from query_service.positions import PositionTracker
from query_service.readers.elastic.connection import Connection
from query_service.readers.postgres.snapshots import Snapshots

UNKNOWN = float("nan")
UNBOUNDED = float("inf")

INDEX_LAG = gauge(
    "paycore_query_index_lag_seconds",
    "Age of the position that the index has reached; infinite while none is known.",
    unit=SECONDS,
)
WAITING_CALLS = gauge(
    "paycore_query_waiting_calls",
    "Calls that wait for the index to reach their min_position.",
    unit="calls",
)
INDEX_REQUESTS = gauge(
    "paycore_query_index_requests",
    "Requests to the index that are under way or wait to be sent.",
    unit="requests",
)
LEDGER_READINGS = gauge(
    "paycore_query_ledger_readings",
    "Readings of the ledger that run or wait for a connection.",
    unit="readings",
)
UNBALANCED = counter(
    "paycore_query_statements_unbalanced_total",
    "Statements that did not balance, and were not sent.",
    unit="statements",
    labels={"source": ("elasticsearch", "postgresql")},
)
GRANTS_AGE = gauge(
    "paycore_query_grants_age_seconds",
    "Age of the grants in force; NaN before the first load.",
    unit=SECONDS,
)


def watch(
    positions: PositionTracker,
    connection: Connection,
    snapshots: Snapshots,
    grants: GrantsLoader,
) -> None:
    """Let the gauges ask these, at each scrape."""

    def age_s() -> float:
        seconds = grants.age_s()
        return UNKNOWN if seconds is None else seconds

    watch_index(positions)
    WAITING_CALLS.set_function(lambda: positions.waiting)
    INDEX_REQUESTS.set_function(lambda: connection.under_way)
    LEDGER_READINGS.set_function(lambda: snapshots.under_way)
    GRANTS_AGE.set_function(age_s)


def watch_index(positions: PositionTracker) -> None:
    """Let the gauge of the lag ask `positions`."""

    def lag_s() -> float:
        lag_us = positions.lag_us()
        # Not NaN, which no alert on a large lag would hear of.
        return UNBOUNDED if lag_us is None else lag_us / 1_000_000

    INDEX_LAG.set_function(lag_s)
