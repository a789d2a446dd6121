"""What the posting engine tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from prometheus_client import Counter

from paycore.domain.errors import Reason
from paycore.domain.transfers import Declined, GroupPosted, Outcome, Posted
from paycore.runtime.metric_definitions import SECONDS, counter, gauge, histogram, of


class Retry(StrEnum):
    """Why a transaction is tried again."""

    HELD = "held"
    """Its accounts are held by others."""
    CONFLICT = "conflict"
    UNREACHABLE = "unreachable"


OUTCOMES = counter(
    "paycore_outcomes_total",
    "Outcomes of commands: POSTED (each transfer of a group), REPLAYED, or the reason of the"
    " refusal.",
    unit="commands",
    labels={"reason": of("POSTED", "REPLAYED", Reason)},
)
QUEUE_DEPTH = gauge(
    "paycore_queue_depth",
    "Commands that wait for a batch.",
    unit="commands",
)
STREAMED = gauge(
    "paycore_stream_commands",
    "Commands of streams that are under way or whose outcomes are not taken yet.",
    unit="commands",
)
OVERLOADED = counter(
    "paycore_queue_overloaded_total",
    "Calls refused because the queue was full.",
    unit="calls",
)
BATCH_SIZE = histogram(
    "paycore_batch_size",
    "Commands in one posting transaction.",
    unit="commands",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 500),
)
BATCH_SECONDS = histogram(
    "paycore_batch_seconds",
    "Time of one batch from its first attempt to its answer, in seconds.",
    unit=SECONDS,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 1, 5, 15),
)
RETRIES = counter(
    "paycore_batch_retries_total",
    "Batches decided anew, by cause.",
    unit="batches",
    labels={"cause": of(Retry)},
)
REJECTED_ROWS = counter(
    "paycore_rejected_rows_total",
    "Planned rows that the tables refused: a defect, alert on it.",
    unit="rows",
)

RETRIED = {cause: RETRIES.labels(cause.value) for cause in Retry}
"""By cause; looked up once."""

_POSTED = OUTCOMES.labels("POSTED")
_REPLAYED = OUTCOMES.labels("REPLAYED")
_OUTCOME: dict[str, Counter] = {reason.value: OUTCOMES.labels(reason.value) for reason in Reason}


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
            _OUTCOME[outcome.decline.reason].inc()
        else:
            _OUTCOME[outcome.error.reason].inc()
    _POSTED.inc(posted)
    _REPLAYED.inc(replayed)
