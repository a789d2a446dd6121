"""Metrics of the signing service."""

from __future__ import annotations

from paycore.domain.errors import Reason
from paycore.runtime.metric_definitions import SECONDS, counter, gauge, histogram, of
from paycore.runtime.metrics import LATENCY_BUCKETS_S
from signing_service.event_kinds import Event

VERDICTS = counter(
    "paycore_signing_verdicts_total",
    "Answers to proofs, by outcome: AUTHORIZED, or the reason of the refusal.",
    unit="proofs",
    labels={"outcome": of("AUTHORIZED", Reason)},
)
ENROLMENTS = counter(
    "paycore_signing_enrolments_total",
    "Answers to enrolments, by outcome: ENROLLED, or the reason of the refusal.",
    unit="enrolments",
    labels={"outcome": of("ENROLLED", Reason)},
)
HASHING_DEPTH = gauge(
    "paycore_signing_hashing_depth",
    "Calls that hold a place in the hashing pool.",
    unit="calls",
)
HASHING_CAPACITY = gauge(
    "paycore_signing_hashing_capacity",
    "Places in the hashing pool; beyond them: OVERLOADED.",
    unit="calls",
)
HASH_SECONDS = histogram(
    "paycore_signing_hash_seconds",
    "Time of one argon2id hash, waiting for a thread included, in seconds.",
    unit=SECONDS,
    buckets=LATENCY_BUCKETS_S,
)
WAITING = gauge(
    "paycore_signing_waiting_calls",
    "Calls that wait for earlier attempts of the same user.",
    unit="calls",
)
DATA_KEYS = counter(
    "paycore_signing_data_keys_total",
    "Data keys of subjects, by what was done: made, destroyed.",
    unit="keys",
    labels={"done": ("made", "destroyed")},
)
REMOVED = counter(
    "paycore_signing_verdicts_removed_total",
    "Recorded verdicts and used challenges removed after they expired.",
    unit="rows",
)
QUESTIONS = gauge(
    "paycore_signing_stream_questions",
    "Questions of streams that wait for their verdicts.",
    unit="questions",
)
QUESTION_SECONDS = histogram(
    "paycore_signing_stream_question_seconds",
    "Time from the reading of a stream's question to its answer, by outcome: OK, or the reason, in"
    " seconds.",
    unit=SECONDS,
    buckets=LATENCY_BUCKETS_S,
    labels={"outcome": of("OK", Reason)},
)
EVENTS = counter(
    "paycore_signing_security_events_total",
    "What happened to PINs and devices, by event.",
    unit="events",
    labels={"event": of(Event)},
)
