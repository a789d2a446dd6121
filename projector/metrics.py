"""What the projector shows to Prometheus."""

from __future__ import annotations

from paycore.runtime.metric_definitions import (
    FLAG,
    SECONDS,
    TIMESTAMP,
    Named,
    counter,
    gauge,
    histogram,
    of,
)
from projector.batch import DocumentKind

SINKS = ("elasticsearch", "seal", "stream", "webhooks")
KINDS = of(DocumentKind)

DOCUMENTS = counter(
    "paycore_projector_documents_total",
    "Documents by sink, kind and result: indexed, already_applied, dead_letter.",
    unit="documents",
    labels={"sink": SINKS, "kind": KINDS, "result": ("indexed", "already_applied", "dead_letter")},
    at_zero=False,
)
BULK_SECONDS = histogram(
    "paycore_projector_bulk_seconds",
    "Time of one bulk request, in seconds.",
    unit=SECONDS,
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
    labels={"sink": SINKS},
)
REFRESH_SECONDS = histogram(
    "paycore_projector_refresh_seconds",
    "Time of one refresh, in seconds.",
    unit=SECONDS,
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
    labels={"sink": SINKS},
)
RETRIES = counter(
    "paycore_projector_retries_total",
    "Attempts made again, by what failed and why.",
    unit="attempts",
    labels={
        "sink": SINKS,
        "step": Named("a step of the sink's work"),
        "cause": Named("a class of error, or an HTTP status"),
    },
)
DEAD_LETTERS = counter(
    "paycore_projector_dead_letters_total",
    "What a sink refused for good, by kind and type of error.",
    unit="items",
    labels={"sink": SINKS, "kind": KINDS, "error_type": Named("the store's own name of the error")},
)
DEAD_LETTERS_KEPT = gauge(
    "paycore_projector_dead_letters_kept",
    "Dead letters that wait for somebody to replay or discard them; counted anew every ten seconds"
    " by who leads.",
    unit="items",
    labels={"sink": SINKS},
)
BEHIND_SECONDS = gauge(
    "paycore_projector_behind_seconds",
    "How long ago that was up to which the sink has taken all of the journal; rises while the sink"
    " stands still. NaN where this process does not lead, or has fed nothing since it does.",
    unit=SECONDS,
    labels={"sink": SINKS},
)
LAG_SECONDS = histogram(
    "paycore_projector_lag_seconds",
    "From a journal row's writing until the sink's readers find it, in seconds.",
    unit=SECONDS,
    buckets=(
        0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0,
        10.0, 30.0, 60.0, 300.0, 3600.0,
    ),
    labels={"sink": SINKS},
)  # fmt: skip
WATERMARK_AGE_SECONDS = gauge(
    "paycore_projector_watermark_age_seconds",
    "How long ago the journal is complete; it rises while a transaction stays open.",
    unit=SECONDS,
    labels={"sink": SINKS},
)
JOURNAL_XID = gauge(
    "paycore_projector_journal_xid",
    "Transaction id of the last journal row accepted.",
    unit="transaction id",
    labels={"sink": SINKS},
)
JOURNAL_TIME = gauge(
    "paycore_projector_journal_timestamp_seconds",
    "When the last journal row accepted was written, in seconds since 1970.",
    unit=TIMESTAMP,
    labels={"sink": SINKS},
)
LEADER = gauge(
    "paycore_projector_leader",
    "1 while this process feeds the sink, 0 in stand-by.",
    unit=FLAG,
    labels={"sink": SINKS},
)
BLOCKED = gauge(
    "paycore_projector_blocked",
    "1 while something keeps this process from feeding the sink or standing by for it.",
    unit=FLAG,
    labels={"sink": SINKS},
)
SESSIONS = counter(
    "paycore_projector_sessions_total",
    "Terms of leading the sink, by how they ended.",
    unit="sessions",
    labels={"sink": SINKS, "end": Named("stopped, or the class of error that ended it")},
)
BUILD_DOCUMENTS = gauge(
    "paycore_projector_build_documents",
    "Documents that a build of the index has written.",
    unit="documents",
    labels={"sink": SINKS},
)
BUILD_EXPECTED = gauge(
    "paycore_projector_build_expected",
    "About how many documents a build will write.",
    unit="documents",
    labels={"sink": SINKS},
)
GENERATION = gauge(
    "paycore_projector_generation",
    "Number of the generation of the index that serves.",
    unit="number of a generation",
    labels={"sink": SINKS},
)
DRIFT = gauge(
    "paycore_projector_drift_documents",
    "Documents that the last check found missing, extra or different.",
    unit="documents",
    labels={"sink": SINKS},
)
DRIFT_CHECKED = gauge(
    "paycore_projector_drift_check_timestamp_seconds",
    "When the last check ended, in seconds since 1970.",
    unit=TIMESTAMP,
    labels={"sink": SINKS},
)
DRIFT_REPAIRED = counter(
    "paycore_projector_drift_repaired_total",
    "Documents that checks have mended.",
    unit="documents",
    labels={"sink": SINKS},
    at_zero=False,
)
REWRITTEN = counter(
    "paycore_projector_rewritten_total",
    "Documents written again for their personal data: erased, or to be had at last.",
    unit="documents",
    labels={"sink": SINKS},
    at_zero=False,
)
SEAL = gauge(
    "paycore_projector_seal_number",
    "Number of the last seal of the chain.",
    unit="number of a seal",
    labels={"sink": SINKS},
)
SEALED_ROWS = counter(
    "paycore_projector_sealed_rows_total",
    "Rows of the journal that were sealed.",
    unit="rows",
    labels={"sink": SINKS},
    at_zero=False,
)
EVENTS = counter(
    "paycore_projector_events_total",
    "Events of the stream by result: added, already_there.",
    unit="events",
    labels={"sink": SINKS, "result": ("added", "already_there")},
    at_zero=False,
)
STREAM_LOST = counter(
    "paycore_projector_stream_lost_total",
    "How often the stream was found behind what it had taken, and was filled again: whole, in part"
    " where the journal holds more than the stream may.",
    unit="times",
    labels={"sink": SINKS, "filled": ("whole", "in part")},
    at_zero=False,
)
