"""What is shown to Prometheus of webhooks. Endpoints are no labels: there may be any number."""

from __future__ import annotations

from paycore.domain.webhooks import DeliveryState, EventType
from paycore.runtime.metric_definitions import SECONDS, counter, gauge, histogram, of
from projector.webhooks.sender import Failure

FANNED_OUT = counter(
    "paycore_webhook_deliveries_total",
    "Deliveries written down, by type of event.",
    unit="deliveries",
    labels={"event": of(EventType)},
)
ENDED = counter(
    "paycore_webhook_ended_total",
    "Deliveries that ended: DELIVERED or DEAD.",
    unit="deliveries",
    labels={"state": (DeliveryState.DELIVERED.value, DeliveryState.DEAD.value)},
)
ATTEMPTS = counter(
    "paycore_webhook_attempts_total",
    "Attempts by what came of them: 2xx to 5xx, or why there was no answer.",
    unit="attempts",
    labels={"answer": of("1xx", "2xx", "3xx", "4xx", "5xx", Failure)},
)
ATTEMPT_SECONDS = histogram(
    "paycore_webhook_attempt_seconds",
    "How long attempts took, in seconds.",
    unit=SECONDS,
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
FIRST_SENT_SECONDS = histogram(
    "paycore_webhook_first_attempt_seconds",
    "From a delivery's writing down until it was first sent, in seconds.",
    unit=SECONDS,
    buckets=(0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0, 3600.0),
)
UNDER_WAY = gauge(
    "paycore_webhook_attempts_under_way",
    "Attempts that are being made.",
    unit="attempts",
)
PUT_BACK = counter(
    "paycore_webhook_put_back_total",
    "Deliveries that were not sent when they were due, for want of a secret's key.",
    unit="deliveries",
)
GONE = counter(
    "paycore_webhook_gone_total",
    "Subscriptions whose endpoint answered 410.",
    unit="subscriptions",
)
PRUNED = counter(
    "paycore_webhook_pruned_total",
    "Deliveries removed because they were too old.",
    unit="deliveries",
)
OVERFULL = counter(
    "paycore_webhook_overfull_total",
    "Subscriptions that were disabled because too many of their deliveries waited.",
    unit="subscriptions",
)
