"""The calls about webhooks, as both clients make them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.client import rpcs
from paycore.client.calls import Call
from paycore.client.policy_calls import PAGE
from paycore.client.webhook_model import (
    Attempt,
    Delivery,
    DeliveryQuery,
    NewSubscription,
    ReplayReceipt,
    SecretReceipt,
    Subscription,
    SubscriptionReceipt,
)
from paycore.domain.webhook_signature import WebhookSecret
from paycore.domain.webhooks import DeliveryState, SubscriptionState
from paycore.v1 import webhook_service_pb2 as pb2


def create_subscription(
    wanted: NewSubscription, reason: str, key: str
) -> Call[SubscriptionReceipt]:
    request = pb2.CreateSubscriptionRequest(
        idempotency_key=key,
        url=wanted.url,
        event_types=wanted.events,
        account_ids=wanted.accounts,
        description=wanted.description,
        reason=reason,
    )
    return Call(
        rpcs.CREATE_SUBSCRIPTION,
        request,
        lambda reply: SubscriptionReceipt(
            _subscription(reply.subscription),
            True,
            key,
            reply.replayed,
            _secret(reply.secret),
            reply.position,
        ),
        idempotency_key=key,
    )


def list_subscriptions(client: str, page_token: str) -> Call[tuple[list[Subscription], str]]:
    """One page, and the token of the next."""
    return Call(
        rpcs.LIST_SUBSCRIPTIONS,
        pb2.ListSubscriptionsRequest(client=client, page_size=PAGE, page_token=page_token),
        lambda reply: (list(map(_subscription, reply.subscriptions)), reply.next_page_token),
    )


def switch_subscription(
    subscription: int, reason: str, key: str, *, enabled: bool
) -> Call[SubscriptionReceipt]:
    kind = pb2.EnableSubscriptionRequest if enabled else pb2.DisableSubscriptionRequest
    return Call(
        rpcs.ENABLE_SUBSCRIPTION if enabled else rpcs.DISABLE_SUBSCRIPTION,
        kind(idempotency_key=key, subscription_id=subscription, reason=reason),
        lambda reply: SubscriptionReceipt(
            _subscription(reply.subscription), reply.changed, key, reply.replayed
        ),
        idempotency_key=key,
    )


def rotate_secret(
    subscription: int, overlap_s: int | None, reason: str, key: str
) -> Call[SecretReceipt]:
    request = pb2.RotateSecretRequest(
        idempotency_key=key, subscription_id=subscription, reason=reason
    )
    if overlap_s is not None:
        request.overlap.CopyFrom(Duration(seconds=overlap_s))
    return Call(
        rpcs.ROTATE_SECRET,
        request,
        lambda reply: SecretReceipt(_secret(reply.secret), key, reply.replayed),
        idempotency_key=key,
    )


def list_deliveries(
    wanted: DeliveryQuery, page_token: str, size: int = PAGE
) -> Call[tuple[list[Delivery], str]]:
    """One page, the newest first, and the token of the next."""
    state = "UNSPECIFIED" if wanted.state is None else wanted.state.value
    request = pb2.ListDeliveriesRequest(
        subscription_id=wanted.subscription,
        state=pb2.DeliveryState.Value(f"DELIVERY_STATE_{state}"),
        event_type=wanted.event,
        event_id=wanted.event_id,
        page_size=size,
        page_token=page_token,
    )
    return Call(
        rpcs.LIST_DELIVERIES,
        request,
        lambda reply: (list(map(_delivery, reply.deliveries)), reply.next_page_token),
    )


def replay_delivery(delivery: int, reason: str, key: str) -> Call[ReplayReceipt]:
    return _replay(
        pb2.ReplayDeliveryRequest(idempotency_key=key, delivery_id=delivery, reason=reason), key
    )


def replay_dead(
    subscription: int, since: datetime | None, reason: str, key: str
) -> Call[ReplayReceipt]:
    dead = pb2.DeadDeliveries(subscription_id=subscription)
    if since is not None:
        at = Timestamp()
        at.FromDatetime(since)
        dead.since.CopyFrom(at)
    return _replay(pb2.ReplayDeliveryRequest(idempotency_key=key, dead=dead, reason=reason), key)


def _replay(request: pb2.ReplayDeliveryRequest, key: str) -> Call[ReplayReceipt]:
    return Call(
        rpcs.REPLAY_DELIVERY,
        request,
        lambda reply: ReplayReceipt(reply.deliveries, reply.more, key, reply.replayed),
        idempotency_key=key,
    )


def _secret(text: str) -> WebhookSecret | None:
    return WebhookSecret(text) if text else None


def _subscription(message: pb2.Subscription) -> Subscription:
    state = pb2.SubscriptionState.Name(message.state).removeprefix("SUBSCRIPTION_STATE_")
    return Subscription(
        message.id,
        message.client,
        message.url,
        tuple(message.event_types),
        tuple(message.account_ids),
        message.description,
        SubscriptionState(state),
        _time(message.create_time),
    )


def _delivery(message: pb2.Delivery) -> Delivery:
    state = pb2.DeliveryState.Name(message.state).removeprefix("DELIVERY_STATE_")
    return Delivery(
        message.id,
        message.subscription_id,
        message.event_id,
        message.event_type,
        DeliveryState(state),
        _time(message.create_time),
        _time(message.next_attempt_time) if message.HasField("next_attempt_time") else None,
        _time(message.end_time) if message.HasField("end_time") else None,
        tuple(map(_attempt, message.attempts)),
    )


def _attempt(message: pb2.DeliveryAttempt) -> Attempt:
    duration: timedelta = message.duration.ToTimedelta()
    return Attempt(
        message.number,
        _time(message.start_time),
        duration.total_seconds(),
        message.status if message.HasField("status") else None,
        message.failure if message.HasField("failure") else None,
    )


def _time(message: Any) -> datetime:
    at: datetime = message.ToDatetime(tzinfo=UTC)
    return at
