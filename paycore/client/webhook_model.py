"""What methods about webhooks take and give."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from paycore.domain.webhook_signature import WebhookSecret
from paycore.domain.webhooks import ALL_EVENTS, DeliveryState, SubscriptionState


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """Where a client wants to be told, and of what; no accounts for all that it may read."""

    url: str
    events: tuple[str, ...] = (ALL_EVENTS,)
    accounts: tuple[int, ...] = ()
    description: str = ""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as it stands."""

    id: int
    client: str
    url: str
    events: tuple[str, ...]
    accounts: tuple[int, ...]
    description: str
    state: SubscriptionState
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SubscriptionReceipt:
    """A subscription after a command. `secret` is that of one that was made, shown this once."""

    subscription: Subscription
    changed: bool
    idempotency_key: str
    replayed: bool
    secret: WebhookSecret | None = None
    position: str = ""
    """Of one that was made: events after it are told."""


@dataclass(frozen=True, slots=True)
class SecretReceipt:
    """A new secret; None in a replay after it has ended."""

    secret: WebhookSecret | None
    idempotency_key: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt went: with the status of an answer, or why there was none."""

    number: int
    started_at: datetime
    duration_s: float
    status: int | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as it stands, with its last attempts."""

    id: int
    subscription: int
    event_id: str
    event: str
    state: DeliveryState
    created_at: datetime
    next_attempt_at: datetime | None
    ended_at: datetime | None
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """Which deliveries of a subscription are wanted; of an event by its id alone."""

    subscription: int
    state: DeliveryState | None = None
    event: str = ""
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class ReplayReceipt:
    """How many deliveries are sent again, and whether there may be more of the dead."""

    deliveries: int
    more: bool
    idempotency_key: str
    replayed: bool
