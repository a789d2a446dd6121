"""The commands about webhooks, and what comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from paycore.domain.position import Position
from paycore.domain.transfers import Details
from paycore.domain.webhook_signature import WebhookSecret
from paycore.domain.webhooks import DeliveryState, SubscriptionState


class CreateSubscription(NamedTuple):
    """A request of `client` to be told."""

    client: str
    key: str
    request_hash: bytes
    url: str
    events: tuple[str, ...]
    accounts: tuple[int, ...]
    description: str
    reason: str
    actor: Details


class SwitchSubscription(NamedTuple):
    """A request to enable a subscription, or to disable it."""

    client: str
    key: str
    request_hash: bytes
    subscription: int
    enabled: bool
    reason: str
    actor: Details


class RotateSecret(NamedTuple):
    """A request for a new secret; those before it sign `overlap_us` microseconds more."""

    client: str
    key: str
    request_hash: bytes
    subscription: int
    overlap_us: int
    reason: str
    actor: Details


class ReplayDelivery(NamedTuple):
    """A request to send one delivery again."""

    client: str
    key: str
    request_hash: bytes
    delivery: int
    reason: str
    actor: Details


class ReplayDead(NamedTuple):
    """A request to send again what is dead of a subscription, made at `since_us` or later."""

    client: str
    key: str
    request_hash: bytes
    subscription: int
    since_us: int
    reason: str
    actor: Details


WebhookCommand = (
    CreateSubscription | SwitchSubscription | RotateSecret | ReplayDelivery | ReplayDead
)


class Subscription(NamedTuple):
    """A subscription as it stands."""

    id: int
    client: str
    url: str
    events: tuple[str, ...]
    accounts: tuple[int, ...]
    description: str
    state: SubscriptionState
    revision: int
    created_at_us: int


class Attempt(NamedTuple):
    """How an attempt went: with the status of an answer, or why there was none."""

    number: int
    started_at_us: int
    duration_us: int
    status: int | None
    failure: str | None


class Delivery(NamedTuple):
    """A delivery as it stands, with its last attempts."""

    id: int
    subscription: int
    journal_id: int
    place: int
    event: str
    state: DeliveryState
    created_at_us: int
    due_at_us: int | None
    ended_at_us: int | None
    attempts: tuple[Attempt, ...]


class DeliveryFilter(NamedTuple):
    """Which deliveries of a subscription are wanted; an event by its journal row and place."""

    subscription: int
    state: DeliveryState | None = None
    event_type: str = ""
    event: tuple[int, int] | None = None


class Figures(NamedTuple):
    """What is remembered of a command under its key."""

    subscription: int = 0
    secret: int = 0
    changed: bool = False
    deliveries: int = 0

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Figures:
        """As they were remembered; a process of an earlier release leaves out what it knows not."""
        return cls(**{name: stored[name] for name in cls._fields if name in stored})


class WebhookOutcome(NamedTuple):
    """What a command led to, now or (replayed) when its key was first used."""

    figures: Figures
    position: Position
    replayed: bool = False
    subscription: Subscription | None = None
    """As it stands now, where it is one that was created or switched."""
    secret: WebhookSecret | None = None
