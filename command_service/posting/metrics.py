"""What the posting engine tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from paycore.domain.transfers import Declined, GroupPosted, Outcome, Posted

OUTCOMES = Counter(
    "paycore_outcomes_total",
    "Outcomes of commands: POSTED (each transfer of a group), REPLAYED, or the reason of the"
    " refusal.",
    ["reason"],
)
QUEUE_DEPTH = Gauge("paycore_queue_depth", "Commands that wait for a batch.")
STREAMED = Gauge(
    "paycore_stream_commands",
    "Commands of streams that are under way or whose outcomes are not taken yet.",
)
OVERLOADED = Counter("paycore_queue_overloaded_total", "Calls refused because the queue was full.")
BATCH_SIZE = Histogram(
    "paycore_batch_size",
    "Commands in one posting transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 500),
)
BATCH_SECONDS = Histogram(
    "paycore_batch_seconds",
    "Time of one batch from its first attempt to its answer, in seconds.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 1, 5, 15),
)
RETRIES = Counter("paycore_batch_retries_total", "Batches decided anew, by cause.", ["cause"])
REJECTED_ROWS = Counter(
    "paycore_rejected_rows_total", "Planned rows that the tables refused: a defect, alert on it."
)

_POSTED = OUTCOMES.labels("POSTED")
_REPLAYED = OUTCOMES.labels("REPLAYED")


def count(outcomes: Iterable[Outcome]) -> None:
    """Count the outcomes of a batch: a sample for each kind, since one for each costs as much."""
    posted = replayed = 0
    for outcome in outcomes:
        if isinstance(outcome, Posted):
            if outcome.replayed:
                replayed += 1
            else:
                posted += 1
        elif isinstance(outcome, GroupPosted):
            if outcome.replayed:
                replayed += 1
            else:
                posted += len(outcome.transfers)
        elif isinstance(outcome, Declined):
            OUTCOMES.labels(outcome.decline.reason).inc()
        else:
            OUTCOMES.labels(outcome.error.reason.value).inc()
    _POSTED.inc(posted)
    _REPLAYED.inc(replayed)
