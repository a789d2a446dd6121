"""Webhooks on the command line, against a server that answers by a script."""

from __future__ import annotations

import json

import pytest

from paycore.v1 import webhook_service_pb2 as pb2
from tests.integration.client.scripted import Script
from tests.integration.client.test_command_line import Paycore, paycore

__all__ = ["paycore"]

SECRET = "whsec_canary"
SUBSCRIPTION = pb2.Subscription(
    id=7,
    client="app",
    url="https://shop.example/hook",
    event_types=["transfer.posted"],
    account_ids=[71],
    state=pb2.SUBSCRIPTION_STATE_GONE,
)


async def test_a_subscription_is_created_and_its_secret_shown_once(
    paycore: Paycore, script: Script
) -> None:
    script.play(pb2.CreateSubscriptionResponse(subscription=SUBSCRIPTION, secret=SECRET))
    result = await paycore(
        "webhooks", "create", "https://shop.example/hook", "--event", "transfer.posted",
        "--account", "71", "--reason", "r", "--key", "k",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert SECRET in result.stdout
    [sent] = script.requests
    assert (sent.idempotency_key, sent.url, list(sent.account_ids)) == (
        "k", "https://shop.example/hook", [71],
    )  # fmt: skip
    script.play(pb2.CreateSubscriptionResponse(subscription=SUBSCRIPTION, secret=SECRET))
    result = await paycore("webhooks", "create", "https://shop.example/hook", "--json")
    assert json.loads(result.stdout)["secret"] == SECRET
    assert list(script.requests[-1].event_types) == ["*"]


async def test_all_pages_are_listed(paycore: Paycore, script: Script) -> None:
    script.play(
        pb2.ListSubscriptionsResponse(subscriptions=[SUBSCRIPTION], next_page_token="more"),
        pb2.ListSubscriptionsResponse(),
    )
    result = await paycore("webhooks", "list", "--client", "app", "--json")
    [one] = json.loads(result.stdout)
    assert (one["id"], one["state"], one["url"]) == (7, "GONE", "https://shop.example/hook")
    assert [sent.page_token for sent in script.requests] == ["", "more"]


async def test_subscriptions_are_switched_and_secrets_rotated(
    paycore: Paycore, script: Script
) -> None:
    script.play(pb2.DisableSubscriptionResponse(subscription=SUBSCRIPTION, changed=True))
    assert "disabled" in (await paycore("webhooks", "disable", "7", "--reason", "r")).stdout
    script.play(pb2.EnableSubscriptionResponse(subscription=SUBSCRIPTION, changed=False))
    assert "nothing to change" in (await paycore("webhooks", "enable", "7")).stdout
    script.play(pb2.RotateSecretResponse(secret=SECRET))
    assert SECRET in (await paycore("webhooks", "rotate", "7", "--overlap", "0")).stdout
    assert script.requests[-1].HasField("overlap")
    script.play(pb2.RotateSecretResponse(replayed=True))
    assert "(ended)" in (await paycore("webhooks", "rotate", "7")).stdout
    assert not script.requests[-1].HasField("overlap")


async def test_deliveries_are_shown_with_their_attempts(paycore: Paycore, script: Script) -> None:
    delivery = pb2.Delivery(
        id=5,
        subscription_id=7,
        event_id="9-0",
        event_type="transfer.posted",
        state=pb2.DELIVERY_STATE_DEAD,
        attempts=[
            pb2.DeliveryAttempt(number=1, status=500),
            pb2.DeliveryAttempt(number=2, failure="TIMED_OUT"),
        ],
    )
    script.play(pb2.ListDeliveriesResponse(deliveries=[delivery]))
    result = await paycore("webhooks", "deliveries", "7", "--in", "dead", "--json")
    [one] = json.loads(result.stdout)
    told = [(attempt["status"], attempt["failure"]) for attempt in one["attempts"]]
    assert told == [(500, None), (None, "TIMED_OUT")]
    assert script.requests[-1].state == pb2.DELIVERY_STATE_DEAD


async def test_one_or_all_of_the_dead_are_replayed(paycore: Paycore, script: Script) -> None:
    script.play(pb2.ReplayDeliveryResponse(deliveries=1))
    assert "1 sent again" in (await paycore("webhooks", "replay", "--delivery", "5")).stdout
    assert script.requests[-1].delivery_id == 5
    script.play(pb2.ReplayDeliveryResponse(deliveries=1_000, more=True))
    result = await paycore("webhooks", "replay", "--dead-of", "7", "--since", "2026-11-28T00:00:00")
    assert "1,000 sent again; there may be more" in result.stdout
    assert script.requests[-1].dead.since.seconds == 1_795_824_000


@pytest.mark.parametrize(
    "wrong",
    [
        ("webhooks", "replay"),
        ("webhooks", "replay", "--delivery", "1", "--dead-of", "2"),
        ("webhooks", "replay", "--delivery", "1", "--since", "2026-11-28"),
        ("webhooks", "deliveries", "7", "--in", "nowhere"),
    ],
)
async def test_wrong_usage_ends_with_2_and_sends_nothing(
    paycore: Paycore, script: Script, wrong: tuple[str, ...]
) -> None:
    assert (await paycore(*wrong)).exit_code == 2
    assert script.requests == []
