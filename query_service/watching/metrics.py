"""What watching shows."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

WATCHERS = Gauge("paycore_query_watchers", "Watches that are open.")
EVENTS = Counter(
    "paycore_query_watch_events_total",
    "What was sent to those who watch: caught_up, live, heartbeat.",
    ["sort"],
)
BEHIND = Counter(
    "paycore_query_watchers_behind_total", "Watches that ended because they were not read."
)
GAPS = Counter(
    "paycore_query_watch_gaps_total",
    "Times that an entry was read from the ledger because the journal did not bring it in time.",
)
TAIL_AGE = Gauge(
    "paycore_query_watch_tail_age_seconds",
    "For how long new journal rows may be waiting for the tail; zero while nobody watches.",
)
DELAY_SECONDS = Histogram(
    "paycore_query_watch_delay_seconds",
    "Time from the writing of a journal row to its being handed to those who watch.",
    buckets=(0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
