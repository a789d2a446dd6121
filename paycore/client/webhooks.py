"""Webhooks: who is told of what, and what became of it. Methods for an event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TypeVar

from paycore.client import webhook_calls
from paycore.client.calls import Call
from paycore.client.core import Core
from paycore.client.webhook_model import (
    Delivery,
    DeliveryQuery,
    NewSubscription,
    ReplayReceipt,
    SecretReceipt,
    Subscription,
    SubscriptionReceipt,
)

Answer = TypeVar("Answer")


class WebhookMethods(ABC):
    """Part of `PaycoreClient`.

    `reason` is for the audit: at most 256 printable characters, no personal data.
    """

    _core: Core

    @abstractmethod
    async def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    async def create_subscription(
        self, subscription: NewSubscription, reason: str = ""
    ) -> SubscriptionReceipt:
        """Be told of events from now on. The receipt alone shows the secret that signs them."""
        key = self._core.key(subscription.idempotency_key)
        return await self._run(webhook_calls.create_subscription(subscription, reason, key))

    async def list_subscriptions(self, client: str = "") -> AsyncIterator[Subscription]:
        """Those of `client`, or one's own where it is empty."""
        token = ""
        while True:
            found, token = await self._run(webhook_calls.list_subscriptions(client, token))
            for one in found:
                yield one
            if not token:
                return

    async def enable_subscription(
        self, subscription: int, reason: str = "", *, idempotency_key: str | None = None
    ) -> SubscriptionReceipt:
        """Be told again of events from now on; deliveries that waited go on."""
        key = self._core.key(idempotency_key)
        return await self._run(
            webhook_calls.switch_subscription(subscription, reason, key, enabled=True)
        )

    async def disable_subscription(
        self, subscription: int, reason: str = "", *, idempotency_key: str | None = None
    ) -> SubscriptionReceipt:
        """Be told of nothing any more."""
        key = self._core.key(idempotency_key)
        return await self._run(
            webhook_calls.switch_subscription(subscription, reason, key, enabled=False)
        )

    async def rotate_secret(
        self,
        subscription: int,
        reason: str = "",
        *,
        overlap_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> SecretReceipt:
        """Have a new secret; those before it sign `overlap_s` seconds more, None for a day."""
        key = self._core.key(idempotency_key)
        return await self._run(webhook_calls.rotate_secret(subscription, overlap_s, reason, key))

    async def list_deliveries(self, wanted: DeliveryQuery) -> AsyncIterator[Delivery]:
        """What was sent for a subscription, the newest first."""
        token = ""
        while True:
            found, token = await self._run(webhook_calls.list_deliveries(wanted, token))
            for one in found:
                yield one
            if not token:
                return

    async def replay_delivery(
        self, delivery: int, reason: str = "", *, idempotency_key: str | None = None
    ) -> ReplayReceipt:
        """Send it again, in whatever state it is."""
        key = self._core.key(idempotency_key)
        return await self._run(webhook_calls.replay_delivery(delivery, reason, key))

    async def replay_dead(
        self,
        subscription: int,
        since: datetime | None = None,
        reason: str = "",
        *,
        idempotency_key: str | None = None,
    ) -> ReplayReceipt:
        """Send again the 1,000 oldest dead deliveries, made at `since` or later."""
        key = self._core.key(idempotency_key)
        return await self._run(webhook_calls.replay_dead(subscription, since, reason, key))
