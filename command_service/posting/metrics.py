"""What the posting engine tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

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
QUEUE_WAIT_SECONDS = histogram(
    "paycore_queue_wait_seconds",
    "How long the command of a batch that waited longest was in the queue; one sample a batch, so"
    " no command of it waited longer.",
    unit=SECONDS,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 1.0, 5.0, 15.0),
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
COMMAND_RETRIES = counter(
    "paycore_command_retries_total",
    "Commands on accounts, policy, limits, webhooks or personal data that were tried again, by"
    " cause; payments are paycore_batch_retries_total.",
    unit="commands",
    labels={"cause": (Retry.CONFLICT.value, Retry.UNREACHABLE.value)},
)
REJECTED_ROWS = counter(
    "paycore_rejected_rows_total",
    "Planned rows that the tables refused: a defect, alert on it.",
    unit="rows",
)

RETRIED = {cause: RETRIES.labels(cause.value) for cause in Retry}
COMMAND_RETRIED = {
    cause: COMMAND_RETRIES.labels(cause.value) for cause in (Retry.CONFLICT, Retry.UNREACHABLE)
}

_POSTED = OUTCOMES.labels("POSTED")
_REPLAYED = OUTCOMES.labels("REPLAYED")
_OUTCOME: dict[str, Counter] = {reason.value: OUTCOMES.labels(reason.value) for reason in Reason}


class Queued(Protocol):
    """What waited in the queue."""

    @property
    def since_s(self) -> float:
        """From when on, on the monotonic clock."""
        ...


def started(batch: Iterable[Queued], now_s: float) -> None:
    """Tell how long the one of `batch` waited that waited longest. `batch` is not empty."""
    QUEUE_WAIT_SECONDS.observe(max(0.0, now_s - min(one.since_s for one in batch)))


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
