"""Metrics of the signing service."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from paycore.runtime.metrics import LATENCY_BUCKETS_S

VERDICTS = Counter(
    "paycore_signing_verdicts_total",
    "Answers to proofs, by outcome: AUTHORIZED, or the reason of the refusal.",
    ["outcome"],
)
ENROLMENTS = Counter(
    "paycore_signing_enrolments_total",
    "Answers to enrolments, by outcome: ENROLLED, or the reason of the refusal.",
    ["outcome"],
)
HASHING_DEPTH = Gauge(
    "paycore_signing_hashing_depth", "Calls that hold a place in the hashing pool."
)
HASHING_CAPACITY = Gauge(
    "paycore_signing_hashing_capacity", "Places in the hashing pool; beyond them: OVERLOADED."
)
HASH_SECONDS = Histogram(
    "paycore_signing_hash_seconds",
    "Time of one argon2id hash, waiting for a thread included, in seconds.",
    buckets=LATENCY_BUCKETS_S,
)
WAITING = Gauge(
    "paycore_signing_waiting_calls", "Calls that wait for earlier attempts of the same user."
)
DATA_KEYS = Counter(
    "paycore_signing_data_keys_total",
    "Data keys of subjects, by what was done: made, destroyed.",
    ["done"],
)
REMOVED = Counter(
    "paycore_signing_verdicts_removed_total",
    "Recorded verdicts and used challenges removed after they expired.",
)
QUESTIONS = Gauge(
    "paycore_signing_stream_questions", "Questions of streams that wait for their verdicts."
)
QUESTION_SECONDS = Histogram(
    "paycore_signing_stream_question_seconds",
    "Time from the reading of a stream's question to its answer, by outcome: OK, or the reason, in"
    " seconds.",
    ["outcome"],
    buckets=LATENCY_BUCKETS_S,
)
EVENTS = Counter(
    "paycore_signing_security_events_total",
    "What happened to PINs and devices, by event.",
    ["event"],
)
