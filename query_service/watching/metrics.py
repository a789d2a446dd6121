"""What watching shows."""

from __future__ import annotations

from paycore.runtime.metric_definitions import SECONDS, counter, gauge, histogram

WATCHERS = gauge(
    "paycore_query_watchers",
    "Watches that are open.",
    unit="watches",
)
EVENTS = counter(
    "paycore_query_watch_events_total",
    "What was sent to those who watch: caught_up, live, heartbeat.",
    unit="events",
    labels={"sort": ("caught_up", "live", "heartbeat")},
)
BEHIND = counter(
    "paycore_query_watchers_behind_total",
    "Watches that ended because they were not read.",
    unit="watches",
)
GAPS = counter(
    "paycore_query_watch_gaps_total",
    "Times that an entry was read from the ledger because the journal did not bring it in time.",
    unit="times",
)
TAIL_AGE = gauge(
    "paycore_query_watch_tail_age_seconds",
    "For how long new journal rows may be waiting for the tail; zero while nobody watches.",
    unit=SECONDS,
)
DELAY_SECONDS = histogram(
    "paycore_query_watch_delay_seconds",
    "Time from the writing of a journal row to its being handed to those who watch.",
    unit=SECONDS,
    buckets=(0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
