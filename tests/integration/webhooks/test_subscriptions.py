"""Subscriptions as clients make, see and change them: their own, once, audited, and sealed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.local import Endpoints
from paycore.domain.webhooks import MAX_ENABLED
from paycore.v1 import webhook_service_pb2 as pb2
from tests.integration.projector.ledger import Payment, TestLedger
from tests.integration.webhooks.conftest import Start
from tests.integration.webhooks.desk import Desk
from tests.integration.webhooks.receiver import receiver
from tests.support.callers import TIMEOUT_S, Callers, Refusal, refusal_of
from tests.support.command_process import command_process
from tests.support.data_key_server import DataKeyServer
from tests.support.databases import OwnDatabase

URL = "https://shop.example/hook"


class Service:
    """WebhookService, by any identity."""

    def __init__(self, callers: Callers, log: Path) -> None:
        self.callers = callers
        self.log = log

    async def call(self, name: str, request: Any, who: str = "app") -> Any:
        return await getattr(self.callers.of(who).webhooks, name)(request, timeout=TIMEOUT_S)

    async def refused(self, name: str, request: Any, who: str = "app") -> Refusal:
        refusal = await refusal_of(self.call(name, request, who))
        assert refusal is not None
        return refusal


def creation(**changes: Any) -> pb2.CreateSubscriptionRequest:
    values = {"idempotency_key": secrets.token_hex(8), "url": URL, "event_types": ["*"]}
    return pb2.CreateSubscriptionRequest(**{**values, **changes})


def about(kind: Any, subscription: int, **changes: Any) -> Any:
    return kind(idempotency_key=secrets.token_hex(8), subscription_id=subscription, **changes)


@pytest.fixture
async def service(
    endpoints: Endpoints, database: OwnDatabase, server: DataKeyServer, tmp_path: Path
) -> AsyncIterator[Service]:
    log = tmp_path / "command.log"
    async with (
        command_process(
            endpoints, log, POSTGRES_DSN=database.dsn("command"), SIGNING_TARGET=server.target
        ) as (target, _),
        Callers(endpoints, command_target=target) as callers,
    ):
        yield Service(callers, log)


async def test_a_secret_is_shown_to_who_repeats_the_request_and_never_listed(
    service: Service,
) -> None:
    request = creation(description="orders", event_types=["transfer.posted"])
    made = await service.call("CreateSubscription", request)
    assert made.secret.startswith("whsec_")
    assert len(made.secret) > 40
    again = await service.call("CreateSubscription", request)
    assert (again.secret, again.position, again.replayed) == (made.secret, made.position, True)
    assert again.subscription == made.subscription
    other = creation(idempotency_key=request.idempotency_key)
    assert (await service.refused("CreateSubscription", other)).reason == "IDEMPOTENCY_KEY_REUSED"
    listed = await service.call("ListSubscriptions", pb2.ListSubscriptionsRequest())
    assert list(listed.subscriptions) == [made.subscription]
    assert made.secret not in str(listed)
    which = made.subscription.id
    rotation = about(pb2.RotateSecretRequest, which)
    rotation.overlap.SetInParent()
    rotated = await service.call("RotateSecret", rotation)
    assert rotated.secret not in ("", made.secret)
    assert (await service.call("RotateSecret", rotation)).secret == rotated.secret
    await service.call("RotateSecret", about(pb2.RotateSecretRequest, which))
    # Of the first nothing is left.
    late = await service.call("CreateSubscription", request)
    assert (late.secret, late.replayed) == ("", True)


async def test_secrets_that_sign_are_few(service: Service) -> None:
    which = (await service.call("CreateSubscription", creation())).subscription.id
    for _ in range(3):
        await service.call("RotateSecret", about(pb2.RotateSecretRequest, which))
    refused = await service.refused("RotateSecret", about(pb2.RotateSecretRequest, which))
    assert refused.reason == "ILLEGAL_STATE"


async def test_a_client_sees_and_changes_its_own_alone_and_an_operator_all(
    service: Service,
) -> None:
    which = (await service.call("CreateSubscription", creation())).subscription.id
    requests = [
        ("DisableSubscription", about(pb2.DisableSubscriptionRequest, which)),
        ("EnableSubscription", about(pb2.EnableSubscriptionRequest, which)),
        ("RotateSecret", about(pb2.RotateSecretRequest, which)),
        ("ListDeliveries", pb2.ListDeliveriesRequest(subscription_id=which)),
        (
            "ReplayDelivery",
            pb2.ReplayDeliveryRequest(
                idempotency_key="r", dead=pb2.DeadDeliveries(subscription_id=which)
            ),
        ),
    ]
    for name, request in requests:
        refused = await service.refused(name, request, "loadtest")
        assert refused.reason == "SUBSCRIPTION_NOT_FOUND", name
        assert (await service.refused(name, request, "stranger")).reason == "NOT_PERMITTED"
    theirs = pb2.ListSubscriptionsRequest(client="app")
    assert (await service.refused("ListSubscriptions", theirs, "loadtest")).reason == (
        "NOT_PERMITTED"
    )
    mine = await service.call("ListSubscriptions", pb2.ListSubscriptionsRequest(), "loadtest")
    assert not mine.subscriptions
    seen = await service.call("ListSubscriptions", theirs, "operator")
    assert [one.id for one in seen.subscriptions] == [which]
    for name, request in requests:
        await service.call(name, request, "operator")


async def test_deliveries_of_others_are_not_there(
    desk: Desk, service: Service, ledger: TestLedger, start: Start
) -> None:
    async with receiver() as hook:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        start()
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, amount) for amount in range(1, 6)])
        await hook.until(5)
        found: list[Any] = []
        token = ""
        while True:
            page = await service.call(
                "ListDeliveries",
                pb2.ListDeliveriesRequest(subscription_id=which, page_size=2, page_token=token),
            )
            found += page.deliveries
            token = page.next_page_token
            if not token:
                break
        assert [one.id for one in found] == sorted((one.id for one in found), reverse=True)
        assert len({one.event_id for one in found}) == 5
        one = await service.call(
            "ListDeliveries",
            pb2.ListDeliveriesRequest(subscription_id=which, event_id=found[3].event_id),
        )
        assert [delivery.id for delivery in one.deliveries] == [found[3].id]
        dead = pb2.ListDeliveriesRequest(subscription_id=which, state=pb2.DELIVERY_STATE_DEAD)
        assert not (await service.call("ListDeliveries", dead)).deliveries
        dead.page_token = page.next_page_token or "x"
        assert (await service.refused("ListDeliveries", dead)).fields == ["page_token"]
        replay = pb2.ReplayDeliveryRequest(idempotency_key="r", delivery_id=found[0].id)
        refused = await service.refused("ReplayDelivery", replay, "loadtest")
        assert refused.reason == "DELIVERY_NOT_FOUND"


async def test_accounts_must_be_there_and_readable(service: Service, ledger: TestLedger) -> None:
    account, other = await ledger.open_pair()
    made = await service.call("CreateSubscription", creation(account_ids=[account, other]))
    assert list(made.subscription.account_ids) == [account, other]
    unreadable = creation(account_ids=[account])
    refused = await service.refused("CreateSubscription", unreadable, "loadtest")
    assert refused.reason == "NOT_PERMITTED"
    missing = await service.refused("CreateSubscription", creation(account_ids=[7]))
    assert missing.reason == "ACCOUNT_NOT_FOUND"


async def test_what_is_malformed_is_named_and_nothing_written(
    service: Service, ledger: TestLedger
) -> None:
    bad = pb2.CreateSubscriptionRequest(
        url="https://user@shop.example/",
        event_types=["nosuch"],
        account_ids=[0],
        description="x" * 257,
        reason="\n",
    )
    assert set((await service.refused("CreateSubscription", bad)).fields) == {
        "idempotency_key", "url", "event_types", "account_ids", "description", "reason",
    }  # fmt: skip
    for name, request, fields in (
        ("RotateSecret", pb2.RotateSecretRequest(idempotency_key="k"), ["subscription_id"]),
        ("ReplayDelivery", pb2.ReplayDeliveryRequest(idempotency_key="k"), ["target"]),
        ("ReplayDelivery", pb2.ReplayDeliveryRequest(idempotency_key="k", delivery_id=-1),
         ["delivery_id"]),
        ("ListDeliveries", pb2.ListDeliveriesRequest(event_id="x", event_type="y", page_size=501),
         ["subscription_id", "event_type", "event_id", "page_size"]),
        ("ListSubscriptions", pb2.ListSubscriptionsRequest(client="x" * 129, page_size=-1),
         ["client", "page_size"]),
    ):  # fmt: skip
        assert (await service.refused(name, request)).fields == fields
    long = pb2.RotateSecretRequest(idempotency_key="k", subscription_id=1)
    long.overlap.FromSeconds(8 * 86_400)
    assert (await service.refused("RotateSecret", long)).fields == ["overlap"]
    assert await ledger.rows("SELECT FROM webhooks.subscriptions") == []


async def test_enabled_subscriptions_of_a_client_are_bounded(
    service: Service, ledger: TestLedger
) -> None:
    which = (await service.call("CreateSubscription", creation())).subscription.id
    await ledger.execute(
        "INSERT INTO webhooks.subscriptions (id, created_at_us, from_journal_id, accounts, events,"
        " client, url, description) SELECT n, 1, 1, '{}', '{*}', 'app', 'https://x', ''"
        " FROM generate_series(1, $1) AS n",
        MAX_ENABLED - 1,
    )
    assert (await service.refused("CreateSubscription", creation())).reason == (
        "TOO_MANY_SUBSCRIPTIONS"
    )
    await service.call("DisableSubscription", about(pb2.DisableSubscriptionRequest, which))
    await service.call("CreateSubscription", creation())
    refused = await service.refused(
        "EnableSubscription", about(pb2.EnableSubscriptionRequest, which)
    )
    assert refused.reason == "TOO_MANY_SUBSCRIPTIONS"


async def test_changes_are_audited_and_no_secret_stands_anywhere(
    service: Service, database: OwnDatabase
) -> None:
    made = await service.call("CreateSubscription", creation(reason="agreed"))
    which = made.subscription.id
    rotated = await service.call("RotateSecret", about(pb2.RotateSecretRequest, which))
    await service.call(
        "DisableSubscription", about(pb2.DisableSubscriptionRequest, which), "operator"
    )
    connection = await asyncpg.connect(database.admin_dsn)
    audited = await connection.fetch(
        "SELECT client, action, coalesce(reason, '') FROM ledger.audit WHERE subject = $1",
        f"webhook/{which}",
    )
    assert sorted(tuple(row) for row in audited) == sorted(
        [
            ("app", "ADD_WEBHOOK", "agreed"),
            ("app", "ADD_WEBHOOK_SECRET", "agreed"),
            ("app", "CHANGE_WEBHOOK_SECRET", ""),
            ("app", "ADD_WEBHOOK_SECRET", ""),
            ("operator", "CHANGE_WEBHOOK", ""),
        ]
    )
    tables = await connection.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace::regnamespace::text IN ('ledger', 'webhooks', 'audit', 'signing')"
    )
    stored = ""
    for table in tables:
        rows = await connection.fetch(f"SELECT t::text FROM {table['name']} AS t")
        stored += "".join(row["t"] for row in rows)
    await connection.close()
    assert URL in stored
    logged = service.log.read_text(encoding="utf-8")
    for secret in (made.secret, rotated.secret):
        bare = secret.removeprefix("whsec_")
        for form in (bare, bare.encode().hex(), secret.encode().hex()):
            assert form not in stored
            assert form not in logged
