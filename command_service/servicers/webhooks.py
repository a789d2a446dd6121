"""WebhookService: who is told of what, and what became of it."""

from __future__ import annotations

from command_service import anew
from command_service.policy.place_token import PlaceTokens
from command_service.posting.store import UnreachableError
from command_service.servicers.fields import MAX_NAME, Fields
from command_service.servicers.policy_frame import page_size
from command_service.servicers.webhook_requests import (
    WebhookRequests,
    delivery_message,
    subscription_message,
    wanted_deliveries,
)
from command_service.webhooks.commands import Subscription, WebhookCommand, WebhookOutcome
from command_service.webhooks.ledger import WebhookLedger
from paycore.domain.webhooks import MAX_REPLAYED
from paycore.runtime.server import Call
from paycore.v1 import webhook_service_pb2 as pb2


class WebhookServicer:
    """Translates between messages and the ledger of webhooks."""

    def __init__(self, webhooks: WebhookLedger, requests: WebhookRequests, secret: bytes) -> None:
        """`secret` is the key of page tokens."""
        self._webhooks = webhooks
        self._requests = requests
        self._subscription_tokens = PlaceTokens(secret, "webhook subscriptions")
        self._delivery_tokens = PlaceTokens(secret, "webhook deliveries")

    async def CreateSubscription(  # noqa: N802  # named by the contract
        self, request: pb2.CreateSubscriptionRequest, call: Call
    ) -> pb2.CreateSubscriptionResponse:
        """Tell a client of events from now on."""
        outcome = await self._change(self._requests.creation(request, call.client), call)
        return pb2.CreateSubscriptionResponse(
            subscription=_shown(outcome.subscription),
            secret="" if outcome.secret is None else outcome.secret.text,
            position=outcome.position.encode(),
            replayed=outcome.replayed,
        )

    async def ListSubscriptions(  # noqa: N802  # named by the contract
        self, request: pb2.ListSubscriptionsRequest, call: Call
    ) -> pb2.ListSubscriptionsResponse:
        """Show a client's subscriptions, without secrets."""
        fields = Fields()
        fields.text("client", request.client, MAX_NAME)
        size = page_size(request.page_size, fields)
        fields.check()
        tokens = self._subscription_tokens
        place = tokens.open(request.page_token, call.client, request.client)
        after = int(place[0]) if place else 0
        whose = request.client or call.client
        try:
            found = await self._webhooks.subscriptions(call.client, whose, after, size + 1)
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        reply = pb2.ListSubscriptionsResponse(subscriptions=map(subscription_message, found[:size]))
        if len(found) > size:
            last = [str(found[size - 1].id)]
            reply.next_page_token = tokens.seal(last, call.client, request.client)
        return reply

    async def DisableSubscription(  # noqa: N802  # named by the contract
        self, request: pb2.DisableSubscriptionRequest, call: Call
    ) -> pb2.DisableSubscriptionResponse:
        """Tell of nothing any more."""
        command = self._requests.switching(request, call.client, enabled=False)
        outcome = await self._change(command, call)
        return pb2.DisableSubscriptionResponse(
            subscription=_shown(outcome.subscription),
            changed=outcome.figures.changed,
            replayed=outcome.replayed,
        )

    async def EnableSubscription(  # noqa: N802  # named by the contract
        self, request: pb2.EnableSubscriptionRequest, call: Call
    ) -> pb2.EnableSubscriptionResponse:
        """Tell of events again."""
        command = self._requests.switching(request, call.client, enabled=True)
        outcome = await self._change(command, call)
        return pb2.EnableSubscriptionResponse(
            subscription=_shown(outcome.subscription),
            changed=outcome.figures.changed,
            replayed=outcome.replayed,
        )

    async def RotateSecret(  # noqa: N802  # named by the contract
        self, request: pb2.RotateSecretRequest, call: Call
    ) -> pb2.RotateSecretResponse:
        """Sign with a new secret."""
        outcome = await self._change(self._requests.rotation(request, call.client), call)
        return pb2.RotateSecretResponse(
            secret="" if outcome.secret is None else outcome.secret.text,
            replayed=outcome.replayed,
        )

    async def ListDeliveries(  # noqa: N802  # named by the contract
        self, request: pb2.ListDeliveriesRequest, call: Call
    ) -> pb2.ListDeliveriesResponse:
        """Show what was sent for a subscription, and how that went."""
        fields = Fields()
        wanted = wanted_deliveries(request, fields)
        size = page_size(request.page_size, fields)
        fields.check()
        filtered = "/".join(
            map(
                str,
                (request.subscription_id, request.state, request.event_type, request.event_id),
            )
        )
        place = self._delivery_tokens.open(request.page_token, call.client, filtered)
        before = int(place[0]) if place else None
        try:
            found = await self._webhooks.deliveries(call.client, wanted, before, size + 1)
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        reply = pb2.ListDeliveriesResponse(deliveries=map(delivery_message, found[:size]))
        if len(found) > size:
            last = [str(found[size - 1].id)]
            reply.next_page_token = self._delivery_tokens.seal(last, call.client, filtered)
        return reply

    async def ReplayDelivery(  # noqa: N802  # named by the contract
        self, request: pb2.ReplayDeliveryRequest, call: Call
    ) -> pb2.ReplayDeliveryResponse:
        """Send again."""
        outcome = await self._change(self._requests.replay(request, call.client), call)
        many = outcome.figures.deliveries
        return pb2.ReplayDeliveryResponse(
            deliveries=many, more=many >= MAX_REPLAYED, replayed=outcome.replayed
        )

    async def _change(self, command: WebhookCommand, call: Call) -> WebhookOutcome:
        try:
            return await self._webhooks.change(command, call.deadline_s)
        except UnreachableError as error:
            raise anew.database_unavailable() from error


def _shown(subscription: Subscription | None) -> pb2.Subscription | None:
    return None if subscription is None else subscription_message(subscription)
