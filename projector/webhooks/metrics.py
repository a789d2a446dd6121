"""What is shown to Prometheus of webhooks. Endpoints are no labels: there may be any number."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FANNED_OUT = Counter(
    "paycore_webhook_deliveries_total", "Deliveries written down, by type of event.", ["event"]
)
ENDED = Counter(
    "paycore_webhook_ended_total", "Deliveries that ended: DELIVERED or DEAD.", ["state"]
)
ATTEMPTS = Counter(
    "paycore_webhook_attempts_total",
    "Attempts by what came of them: 2xx to 5xx, or why there was no answer.",
    ["answer"],
)
ATTEMPT_SECONDS = Histogram(
    "paycore_webhook_attempt_seconds",
    "How long attempts took, in seconds.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
FIRST_SENT_SECONDS = Histogram(
    "paycore_webhook_first_attempt_seconds",
    "From a delivery's writing down until it was first sent, in seconds.",
    buckets=(0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0, 3600.0),
)
UNDER_WAY = Gauge("paycore_webhook_attempts_under_way", "Attempts that are being made.")
PUT_BACK = Counter(
    "paycore_webhook_put_back_total",
    "Deliveries that were not sent when they were due, for want of a secret's key.",
)
GONE = Counter("paycore_webhook_gone_total", "Subscriptions whose endpoint answered 410.")
OVERFULL = Counter(
    "paycore_webhook_overfull_total",
    "Subscriptions that were disabled because too many of their deliveries waited.",
)
PRUNED = Counter("paycore_webhook_pruned_total", "Deliveries removed because they were too old.")
