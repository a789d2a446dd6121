"""Prometheus: the metrics every process has, and the endpoint that shows them."""

from __future__ import annotations

from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server

from paycore.domain.errors import Reason
from paycore.runtime.metric_definitions import METHOD, SECONDS, counter, gauge, histogram, of
from paycore.runtime.settings import split_address

LATENCY_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

CALL_SECONDS = histogram(
    "paycore_call_seconds",
    "Time from a call's arrival to its answer, in seconds.",
    unit=SECONDS,
    buckets=LATENCY_BUCKETS_S,
    labels={"method": METHOD},
)
CALLS = counter(
    "paycore_calls_total",
    "Calls by method and outcome: OK, or the reason of the refusal.",
    unit="calls",
    labels={"method": METHOD, "reason": of("OK", Reason, "CANCELLED")},
)
STREAMS = gauge(
    "paycore_streams",
    "Streams that are open, by method.",
    unit="streams",
    labels={"method": METHOD},
)
UNDER_WAY = gauge(
    "paycore_calls_under_way",
    "Calls and streams whose handlers have not ended.",
    unit="calls",
)


def serve(listen: str) -> WSGIServer:
    """Show this process's metrics at http://`listen`/metrics, from a thread of its own.

    Raises OSError when the address is taken.
    """
    host, port = split_address(listen)
    server, _ = start_http_server(port, addr=host)
    return server
