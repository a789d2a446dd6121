"""Right requests about webhooks: of subscriptions of their own, which lead nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paycore.v1 import webhook_service_pb2 as webhooks
from tests.support.fuzzing.right.world import Right, World

NOWHERE = "https://127.0.0.1:1024/"
"""Where nobody answers."""


async def create(world: World, client: str) -> Any:
    return webhooks.CreateSubscriptionRequest(
        idempotency_key=world.new("key"), url=NOWHERE, event_types=["account.changed"]
    )


def created(world: World, client: str, request: Any, reply: Any) -> None:
    """Others are about what is there: the operator's may be about anybody's."""
    world.subscriptions[client].append(reply.subscription.id)


async def enough(world: World, client: str) -> Any:
    """As many as may be enabled are few: most requests end one."""
    return webhooks.DisableSubscriptionRequest(
        idempotency_key=world.new("key"), subscription_id=world.one_of(_of(world, client))
    )


async def enable(world: World, client: str) -> Any:
    return webhooks.EnableSubscriptionRequest(
        idempotency_key=world.new("key"), subscription_id=world.one_of(_of(world, client))
    )


async def rotate(world: World, client: str) -> Any:
    request = webhooks.RotateSecretRequest(
        idempotency_key=world.new("key"), subscription_id=world.one_of(_of(world, client))
    )
    request.overlap.SetInParent()
    return request


async def list_subscriptions(world: World, client: str) -> Any:
    return webhooks.ListSubscriptionsRequest(page_size=world.rng.randint(1, 50))


async def list_deliveries(world: World, client: str) -> Any:
    return webhooks.ListDeliveriesRequest(
        subscription_id=world.one_of(_of(world, client)), page_size=world.rng.randint(1, 50)
    )


async def replay(world: World, client: str) -> Any:
    return webhooks.ReplayDeliveryRequest(
        idempotency_key=world.new("key"),
        dead=webhooks.DeadDeliveries(subscription_id=world.one_of(_of(world, client))),
    )


def _of(world: World, client: str) -> Any:
    return world.subscriptions[client] or world.subscriptions["app"]


WEBHOOKS: Mapping[str, Right] = {
    "WebhookService/CreateSubscription": Right(create, created),
    "WebhookService/ListSubscriptions": Right(list_subscriptions),
    "WebhookService/DisableSubscription": Right(enough),
    "WebhookService/EnableSubscription": Right(enable),
    "WebhookService/RotateSecret": Right(rotate),
    "WebhookService/ListDeliveries": Right(list_deliveries),
    "WebhookService/ReplayDelivery": Right(replay),
}
