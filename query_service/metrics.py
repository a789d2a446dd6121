"""What the query service shows besides the metrics that every process has."""

from __future__ import annotations

from prometheus_client import Gauge

from query_service.grants import GrantsLoader
from query_service.positions import PositionTracker
from query_service.readers.elastic.connection import Connection

UNKNOWN = float("nan")

INDEX_LAG = Gauge(
    "paycore_query_index_lag_seconds",
    "Age of the position that the index has reached; NaN while none is known.",
)
WAITING_CALLS = Gauge(
    "paycore_query_waiting_calls", "Calls that wait for the index to reach their min_position."
)
INDEX_REQUESTS = Gauge(
    "paycore_query_index_requests", "Requests to the index that are under way or wait to be sent."
)
GRANTS_AGE = Gauge(
    "paycore_query_grants_age_seconds", "Age of the grants in force; NaN before the first load."
)


def watch(positions: PositionTracker, connection: Connection, grants: GrantsLoader) -> None:
    """Let the gauges ask these, at each scrape."""

    def lag_s() -> float:
        lag_us = positions.lag_us()
        return UNKNOWN if lag_us is None else lag_us / 1_000_000

    def age_s() -> float:
        seconds = grants.age_s()
        return UNKNOWN if seconds is None else seconds

    INDEX_LAG.set_function(lag_s)
    WAITING_CALLS.set_function(lambda: positions.waiting)
    INDEX_REQUESTS.set_function(lambda: connection.under_way)
    GRANTS_AGE.set_function(age_s)
