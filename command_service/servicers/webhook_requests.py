"""From the requests of webhooks to their commands, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from command_service.servicers.fields import MAX_REASON, Fields
from command_service.servicers.transfer_replies import timestamp
from command_service.webhooks.commands import (
    CreateSubscription,
    Delivery,
    DeliveryFilter,
    ReplayDead,
    ReplayDelivery,
    RotateSecret,
    Subscription,
    SwitchSubscription,
)
from paycore.domain.grants import check_actor
from paycore.domain.idempotency import command_hash
from paycore.domain.rules import Rules
from paycore.domain.transfers import Details
from paycore.domain.webhooks import (
    DEFAULT_OVERLAP_S,
    MAX_ACCOUNTS,
    MAX_DESCRIPTION,
    MAX_OVERLAP_S,
    DeliveryState,
    EventType,
    event_id,
    events_fault,
    parse_event_id,
    url_fault,
)
from paycore.v1 import webhook_service_pb2 as pb2

STATES = {pb2.DeliveryState.Value(f"DELIVERY_STATE_{one.value}"): one for one in DeliveryState}

Switching = pb2.EnableSubscriptionRequest | pb2.DisableSubscriptionRequest


class WebhookRequests:
    """Checks requests and translates them.

    Each method raises PaycoreError INVALID_FIELD with every bad field, and NOT_PERMITTED.
    """

    def __init__(self, rules: Callable[[], Rules], secret: bytes, *, http: bool) -> None:
        """`secret` is the key of request hashes; `http` tells that endpoints may be plain."""
        self._rules = rules
        self._secret = secret
        self._http = http

    def creation(self, request: pb2.CreateSubscriptionRequest, client: str) -> CreateSubscription:
        """A subscription to be made."""
        fields = Fields()
        actor = self._framed(request, fields, client)
        fault = url_fault(request.url, http=self._http)
        if fault is not None:
            fields.violate("url", fault)
        fault = events_fault(request.event_types)
        if fault is not None:
            fields.violate("event_types", fault)
        accounts = tuple(request.account_ids)
        if len(accounts) > MAX_ACCOUNTS or len(set(accounts)) < len(accounts):
            fields.violate("account_ids", f"at most {MAX_ACCOUNTS} different ones")
        elif any(one <= 0 for one in accounts):
            fields.violate("account_ids", "ids of accounts, above zero")
        fields.text("description", request.description, MAX_DESCRIPTION)
        fields.check()
        events = tuple(request.event_types)
        hashed = command_hash(
            self._secret,
            "create_subscription/1",
            request.url,
            len(events),
            *events,
            len(accounts),
            *accounts,
            request.description,
            request.reason,
        )
        return CreateSubscription(
            client,
            request.idempotency_key,
            hashed,
            request.url,
            events,
            accounts,
            request.description,
            request.reason,
            actor,
        )

    def switching(self, request: Switching, client: str, *, enabled: bool) -> SwitchSubscription:
        """A subscription to be enabled or disabled."""
        fields = Fields()
        actor = self._framed(request, fields, client)
        _id(fields, "subscription_id", request.subscription_id)
        fields.check()
        label = "enable_subscription/1" if enabled else "disable_subscription/1"
        hashed = command_hash(self._secret, label, request.subscription_id, request.reason)
        return SwitchSubscription(
            client,
            request.idempotency_key,
            hashed,
            request.subscription_id,
            enabled,
            request.reason,
            actor,
        )

    def rotation(self, request: pb2.RotateSecretRequest, client: str) -> RotateSecret:
        """A secret to be replaced."""
        fields = Fields()
        actor = self._framed(request, fields, client)
        _id(fields, "subscription_id", request.subscription_id)
        overlap_us = DEFAULT_OVERLAP_S * 1_000_000
        if request.HasField("overlap"):
            overlap = request.overlap
            overlap_us = overlap.seconds * 1_000_000 + overlap.nanos // 1_000
            if overlap.nanos < 0 or not 0 <= overlap_us <= MAX_OVERLAP_S * 1_000_000:
                fields.violate("overlap", f"0 to {MAX_OVERLAP_S} seconds")
        fields.check()
        hashed = command_hash(
            self._secret, "rotate_secret/1", request.subscription_id, overlap_us, request.reason
        )
        return RotateSecret(
            client,
            request.idempotency_key,
            hashed,
            request.subscription_id,
            overlap_us,
            request.reason,
            actor,
        )

    def replay(
        self, request: pb2.ReplayDeliveryRequest, client: str
    ) -> ReplayDelivery | ReplayDead:
        """What is to be sent again."""
        fields = Fields()
        actor = self._framed(request, fields, client)
        frame = (client, request.idempotency_key)
        if request.HasField("dead"):
            dead = request.dead
            _id(fields, "dead.subscription_id", dead.subscription_id)
            since_us = fields.time_us("dead.since", dead.since) if dead.HasField("since") else 0
            fields.check()
            hashed = command_hash(
                self._secret, "replay_dead/1", dead.subscription_id, since_us, request.reason
            )
            return ReplayDead(*frame, hashed, dead.subscription_id, since_us, request.reason, actor)
        if not request.HasField("delivery_id"):
            fields.violate("target", "a delivery, or those that are dead")
        else:
            _id(fields, "delivery_id", request.delivery_id)
        fields.check()
        hashed = command_hash(
            self._secret, "replay_delivery/1", request.delivery_id, request.reason
        )
        return ReplayDelivery(*frame, hashed, request.delivery_id, request.reason, actor)

    def _framed(self, request: Any, fields: Fields, client: str) -> Details:
        """For whom the change is made."""
        fields.key(request.idempotency_key)
        fields.text("reason", request.reason, MAX_REASON)
        actor = request.actor
        fields.actor(actor)
        check_actor(self._rules().grants, client, named=request.HasField("actor"))
        return Details(actor.user_id, actor.device_id, actor.ip_address)


def wanted_deliveries(request: pb2.ListDeliveriesRequest, fields: Fields) -> DeliveryFilter:
    """The filter of a list of deliveries; what is wrong with it is noted in `fields`."""
    _id(fields, "subscription_id", request.subscription_id)
    state = STATES.get(request.state)
    if request.state and state is None:
        fields.violate("state", f"one of {', '.join(DeliveryState)}")
    event_type = request.event_type
    if event_type and event_type not in {one.value for one in EventType}:
        fields.violate("event_type", f"one of {', '.join(EventType)}")
    event = parse_event_id(request.event_id)
    if request.event_id and (event is None or request.state or event_type):
        fields.violate("event_id", "the id of an event, without state and type")
    return DeliveryFilter(request.subscription_id, state, event_type, event)


def subscription_message(one: Subscription) -> pb2.Subscription:
    """A subscription as it is told."""
    return pb2.Subscription(
        id=one.id,
        client=one.client,
        url=one.url,
        event_types=one.events,
        account_ids=one.accounts,
        description=one.description,
        state=pb2.SubscriptionState.Value(f"SUBSCRIPTION_STATE_{one.state.value}"),
        create_time=timestamp(one.created_at_us),
    )


def delivery_message(one: Delivery) -> pb2.Delivery:
    """A delivery as it is told."""
    message = pb2.Delivery(
        id=one.id,
        subscription_id=one.subscription,
        event_id=event_id(one.journal_id, one.place),
        event_type=one.event,
        state=pb2.DeliveryState.Value(f"DELIVERY_STATE_{one.state.value}"),
        create_time=timestamp(one.created_at_us),
        next_attempt_time=None if one.due_at_us is None else timestamp(one.due_at_us),
        end_time=None if one.ended_at_us is None else timestamp(one.ended_at_us),
    )
    for attempt in one.attempts:
        told = message.attempts.add(
            number=attempt.number, start_time=timestamp(attempt.started_at_us)
        )
        told.duration.FromMicroseconds(attempt.duration_us)
        if attempt.status is not None:
            told.status = attempt.status
        elif attempt.failure is not None:
            told.failure = attempt.failure
    return message


def _id(fields: Fields, field: str, value: int) -> None:
    if value <= 0:
        fields.violate(field, "an id, above zero")
