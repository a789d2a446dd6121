"""What the projector shows to Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

DOCUMENTS = Counter(
    "paycore_projector_documents_total",
    "Documents by sink, kind and result: indexed, already_applied, dead_letter.",
    ["sink", "kind", "result"],
)
BULK_SECONDS = Histogram(
    "paycore_projector_bulk_seconds",
    "Time of one bulk request, in seconds.",
    ["sink"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
REFRESH_SECONDS = Histogram(
    "paycore_projector_refresh_seconds",
    "Time of one refresh, in seconds.",
    ["sink"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
RETRIES = Counter(
    "paycore_projector_retries_total",
    "Attempts made again, by what failed and why.",
    ["sink", "step", "cause"],
)
DEAD_LETTERS = Counter(
    "paycore_projector_dead_letters_total",
    "What a sink refused for good, by kind and type of error.",
    ["sink", "kind", "error_type"],
)
LAG_SECONDS = Histogram(
    "paycore_projector_lag_seconds",
    "From a journal row's writing until the sink's readers find it, in seconds.",
    ["sink"],
    buckets=(
        0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0,
        10.0, 30.0, 60.0, 300.0, 3600.0,
    ),
)  # fmt: skip
WATERMARK_AGE_SECONDS = Gauge(
    "paycore_projector_watermark_age_seconds",
    "How long ago the journal is complete; it rises while a transaction stays open.",
    ["sink"],
)
JOURNAL_XID = Gauge(
    "paycore_projector_journal_xid", "Transaction id of the last journal row accepted.", ["sink"]
)
JOURNAL_TIME = Gauge(
    "paycore_projector_journal_created_seconds",
    "When the last journal row accepted was written, in seconds since 1970.",
    ["sink"],
)
LEADER = Gauge(
    "paycore_projector_leader", "1 while this process feeds the sink, 0 in stand-by.", ["sink"]
)
BLOCKED = Gauge(
    "paycore_projector_blocked",
    "1 while something keeps this process from feeding the sink or standing by for it.",
    ["sink"],
)
SESSIONS = Counter(
    "paycore_projector_sessions_total",
    "Terms of leading the sink, by how they ended.",
    ["sink", "end"],
)
BUILD_DOCUMENTS = Gauge(
    "paycore_projector_build_documents",
    "Documents that a build of the index has written.",
    ["sink"],
)
BUILD_EXPECTED = Gauge(
    "paycore_projector_build_expected", "About how many documents a build will write.", ["sink"]
)
GENERATION = Gauge(
    "paycore_projector_generation", "Number of the generation of the index that serves.", ["sink"]
)
DRIFT = Gauge(
    "paycore_projector_drift_documents",
    "Documents that the last check found missing, extra or different.",
    ["sink"],
)
DRIFT_CHECKED = Gauge(
    "paycore_projector_drift_checked_seconds",
    "When the last check ended, in seconds since 1970.",
    ["sink"],
)
DRIFT_REPAIRED = Counter(
    "paycore_projector_drift_repaired_total", "Documents that checks have mended.", ["sink"]
)
REWRITTEN = Counter(
    "paycore_projector_rewritten_total",
    "Documents written again for their personal data: erased, or to be had at last.",
    ["sink"],
)
SEAL = Gauge("paycore_projector_seal_number", "Number of the last seal of the chain.", ["sink"])
SEALED_ROWS = Counter(
    "paycore_projector_sealed_rows_total", "Rows of the journal that were sealed.", ["sink"]
)
EVENTS = Counter(
    "paycore_projector_events_total",
    "Events of the stream by result: added, already_there.",
    ["sink", "result"],
)
STREAM_LOST = Counter(
    "paycore_projector_stream_lost_total",
    "How often the stream was found behind what it had taken, and was filled again: whole, in part"
    " where the journal holds more than the stream may.",
    ["sink", "filled"],
)
