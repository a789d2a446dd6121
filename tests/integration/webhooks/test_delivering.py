"""What endpoints are sent, and what becomes of it however they answer."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from aiohttp import web

from paycore.client.webhook_signatures import verify
from paycore.domain.webhooks import DeliveryState, SubscriptionState
from projector.webhooks import deliverer
from tests.integration.projector.index import until
from tests.integration.projector.ledger import Payment, TestLedger
from tests.integration.webhooks.conftest import SCHEDULE_S, Start
from tests.integration.webhooks.desk import Desk
from tests.integration.webhooks.receiver import always, first, receiver

DEAD, DELIVERED, PENDING = DeliveryState.DEAD, DeliveryState.DELIVERED, DeliveryState.PENDING
ATTEMPTS = len(SCHEDULE_S) + 1


async def test_each_event_is_sent_signed_once_and_tells_nothing_personal(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    async with receiver() as hook:
        payer, payee = await ledger.open_pair()
        await ledger.post([Payment(payer, payee, 3)])
        created = await desk.create(hook.url)
        start()
        details = {"user_id": "canary-user", "description": "canary-text"}
        [posted] = await ledger.post([Payment(payer, payee, 5, "invoice-7", details)])
        declined = await ledger.decline(Payment(payer, payee, 9))
        await ledger.set_status(payer, "FROZEN")
        [opened] = await ledger.open_accounts(1)
        received = await hook.until(4)
        await desk.until_all(created.figures.subscription, DELIVERED, 4)
        assert len(received) == 4
        assert created.secret is not None
        events = [
            verify(created.secret, one.headers["Paycore-Signature"], one.body, now=time.time())
            for one in received
        ]
        told = {event["type"]: event["data"] for event in events}
        assert told["transfer.posted"] == {
            "id": str(posted),
            "kind": "TRANSFER",
            "debit_account_id": str(payer),
            "credit_account_id": str(payee),
            "amount": {"minor_units": "5", "currency": "USD"},
            "client": "app",
            "reference": "invoice-7",
            "state": "POSTED",
            "debit_version": "2",
            "credit_version": "2",
        }
        assert told["transfer.declined"]["id"] == str(declined)
        assert told["transfer.declined"]["reason"] == "INSUFFICIENT_FUNDS"
        assert "available" not in told["transfer.declined"]
        assert told["account.changed"]["status"] == "FROZEN"
        assert told["account.opened"]["id"] == str(opened)
        sent = b"".join(one.body for one in received)
        assert b"canary" not in sent
        assert b"owner" not in sent
        for one, event in zip(received, events, strict=True):
            assert one.headers["Paycore-Event"] == event["type"]
            assert one.headers["Paycore-Attempt"] == "1"
        assert len({event["id"] for event in events}) == 4


async def test_what_fails_is_sent_again_as_it_was_until_it_is_taken(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    async with receiver(first(500, 429)) as hook:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        start()
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, 5)])
        received = await hook.until(3)
        await desk.until_all(which, DELIVERED, 1)
        assert len({one.body for one in received}) == len({one.delivery for one in received}) == 1
        assert [one.headers["Paycore-Attempt"] for one in received] == ["1", "2", "3"]
        [delivery] = await desk.deliveries(which)
        assert [attempt.status for attempt in delivery.attempts] == [500, 429, 200]
        assert [attempt.number for attempt in delivery.attempts] == [1, 2, 3]


async def _slow(_: int) -> web.StreamResponse | None:
    await asyncio.sleep(30)
    return None


async def _huge(_: int) -> web.StreamResponse | None:
    return web.Response(body=b"x" * 50_000_000)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("slow", "TIMED_OUT"),
        ("redirect", 302),
        ("refused", "NOT_CONNECTED"),
        ("missing", 404),
    ],
)
async def test_what_is_never_taken_is_dead_after_the_schedule_and_can_be_replayed(
    desk: Desk, ledger: TestLedger, start: Start, how: str, expected: object
) -> None:
    answers = {
        "slow": _slow,
        "redirect": always(302, Location="http://127.0.0.1:9/"),
        "missing": always(404),
    }
    async with receiver(answers.get(how)) as hook:
        url = "http://127.0.0.1:1025/" if how == "refused" else hook.url
        created = await desk.create(url, "transfer.posted")
        which = created.figures.subscription
        start(webhook_attempt_s=0.3)
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, 5)])
        await desk.until_all(which, DEAD, 1)
        [dead] = await desk.deliveries(which)
        assert [one.status or one.failure for one in dead.attempts] == [expected] * ATTEMPTS
        if how == "refused":
            return
        assert len(hook.received) == ATTEMPTS
        hook.answering = None
        assert (await desk.replay_dead(which, 2**62)).figures.deliveries == 0
        assert (await desk.replay_dead(which)).figures.deliveries == 1
        await desk.until_all(which, DELIVERED, 1)
        assert hook.received[-1].body == hook.received[0].body
        assert hook.received[-1].headers["Paycore-Attempt"] == str(ATTEMPTS + 1)
        assert (await desk.replay(dead.id)).figures.deliveries == 1
        await hook.until(ATTEMPTS + 2)
        await desk.until_all(which, DELIVERED, 1)
        audited = await desk.rows(
            "SELECT client FROM ledger.audit WHERE action = 'REPLAY_DELIVERY'"
        )
        assert [row["client"] for row in audited] == ["app", "app"]


async def test_a_huge_answer_is_not_read(desk: Desk, ledger: TestLedger, start: Start) -> None:
    async with receiver(_huge) as hook:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        start()
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, 5)])
        await desk.until_all(which, DELIVERED, 1)


async def test_a_slow_endpoint_delays_no_other(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    async with receiver(_slow) as slow, receiver() as quick:
        slow_one = (await desk.create(slow.url, "transfer.posted")).figures.subscription
        quick_one = (await desk.create(quick.url, "transfer.posted")).figures.subscription
        start(webhook_at_once=6, webhook_at_once_each=3, webhook_attempt_s=8.0)
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, amount) for amount in range(1, 41)])
        began_s = time.monotonic()
        await desk.until_all(quick_one, DELIVERED, 40)
        assert time.monotonic() - began_s < 8.0
        assert len(slow.received) == 3
        assert len(await desk.deliveries(slow_one, PENDING)) == 40


async def test_endpoints_that_hang_leave_room_for_the_others(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    hanging, at_once = 24, 8
    async with receiver(_slow) as slow, receiver() as quick:
        for _ in range(hanging):
            await desk.create(slow.url, "transfer.posted")
        start(
            webhook_at_once=at_once,
            webhook_at_once_client=at_once,
            webhook_at_once_each=1,
            webhook_schedule_s=(0.1,) * 50,
        )
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, amount) for amount in range(1, 11)])

        async def all_failed() -> bool:
            rows = await desk.rows(
                "SELECT DISTINCT subscription FROM webhooks.attempts"
                " JOIN webhooks.deliveries ON deliveries.id = attempts.delivery"
            )
            return len(rows) == hanging

        await until(all_failed)
        quick_one = (await desk.create(quick.url, "transfer.posted")).figures.subscription
        await ledger.post([Payment(*accounts, 11)])
        await desk.followed()
        sent = len(slow.received)
        await desk.until_all(quick_one, DELIVERED, 1)
        # It waited for none of the hundreds that were due before it.
        assert len(slow.received) - sent <= at_once


async def test_a_subscription_of_which_too_much_waits_is_disabled_and_can_go_on(
    desk: Desk, ledger: TestLedger, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "BOUND_EVERY_S", 0.1)
    async with receiver(always(500)) as hook, receiver() as other:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        few = (await desk.create(other.url, "account.opened")).figures.subscription
        # The test's ledger numbers its journal below the ids that commands get.
        await ledger.execute("UPDATE webhooks.subscriptions SET from_journal_id = 0")
        start(webhook_waiting_most=5, webhook_schedule_s=(0.5,) * 50)
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, amount) for amount in range(1, 6)])
        await hook.until(5)

        async def states() -> dict[int, SubscriptionState]:
            found = await desk.webhooks.subscriptions("app", "app", 0, 10)
            return {one.id: one.state for one in found}

        async def disabled() -> bool:
            return (await states())[which] is SubscriptionState.DISABLED

        assert not await disabled()
        await ledger.post([Payment(*accounts, amount) for amount in range(6, 9)])
        await until(disabled)
        assert (await states())[few] is SubscriptionState.ENABLED
        [audited] = await desk.rows(
            "SELECT client, reason FROM ledger.audit"
            " WHERE action = 'CHANGE_WEBHOOK' AND after->>'state' = 'DISABLED'"
        )
        assert audited == {"client": "paycore_projector", "reason": "more than 5 deliveries wait"}
        await ledger.post([Payment(*accounts, 9)])
        await desk.followed()
        assert len(await desk.deliveries(which)) == 8
        # What waited is not counted again: else nobody could enable it.
        assert (await desk.switch(which, enabled=True)).figures.changed
        sent = len(hook.received)
        await hook.until(sent + 8)
        assert not await disabled()
        hook.answering = None
        await desk.until_all(which, DELIVERED, 8)


async def test_gone_disables_at_once_and_the_tables_say_why(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    async with receiver(always(410)) as hook:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        start()
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, 5)])
        await desk.until_all(which, DEAD, 1)
        await ledger.post([Payment(*accounts, 6)])
        await desk.followed()
        [one] = await desk.webhooks.subscriptions("app", "app", 0, 10)
        assert one.state is SubscriptionState.GONE
        assert len(hook.received) == 1
        assert len(await desk.deliveries(which)) == 1
        [audited] = await desk.rows(
            "SELECT client, reason, after->>'state' AS state FROM ledger.audit"
            " WHERE action = 'CHANGE_WEBHOOK'"
        )
        assert audited == {
            "client": "paycore_projector",
            "reason": "the endpoint answered 410 Gone",
            "state": "GONE",
        }


async def test_what_is_due_waits_while_its_subscription_is_disabled(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    async with receiver(always(500)) as hook:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        start(webhook_schedule_s=(0.5,) * 30)
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, 5)])
        await hook.until(1)
        assert (await desk.switch(which, enabled=False)).figures.changed
        await asyncio.sleep(1.0)
        sent = len(hook.received)
        await ledger.post([Payment(*accounts, 6)])
        await desk.followed()
        await asyncio.sleep(1.5)
        assert len(hook.received) == sent
        hook.answering = None
        assert (await desk.switch(which, enabled=True)).figures.changed
        assert not (await desk.switch(which, enabled=True)).figures.changed
        await ledger.post([Payment(*accounts, 7)])
        await desk.until_all(which, DELIVERED, 2)
        amounts = {json.loads(one.body)["data"]["amount"]["minor_units"] for one in hook.received}
        # What happened meanwhile is not told.
        assert amounts == {"5", "7"}


async def test_both_secrets_sign_until_the_overlap_ends(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    async with receiver() as hook:
        created = await desk.create(hook.url, "transfer.posted")
        which = created.figures.subscription
        rotated = await desk.rotate(which, 60_000_000)
        start()
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, 5)])
        [one] = await hook.until(1)
        assert created.secret is not None
        assert rotated.secret is not None
        assert created.secret.text != rotated.secret.text
        for secret in (created.secret, rotated.secret):
            verify(secret, one.headers["Paycore-Signature"], one.body, now=time.time())
        assert one.headers["Paycore-Signature"].count("v1=") == 2
        last = await desk.rotate(which, 0)
        await ledger.post([Payment(*accounts, 6)])
        header = (await hook.until(2))[1].headers["Paycore-Signature"]
        assert header.count("v1=") == 1
        assert last.secret is not None
        verify(last.secret, header, hook.received[1].body, now=time.time())


async def test_what_was_being_sent_by_a_projector_that_ended_is_sent_again(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    async with receiver(_slow) as hook:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        running = start(webhook_attempt_s=20.0)
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, amount) for amount in range(1, 6)])
        await hook.until(4)
        await running.cut()
        hook.answering = None
        start()
        await desk.until_all(which, DELIVERED, 5)
        assert {json.loads(one.body)["data"]["amount"]["minor_units"] for one in hook.received} == {
            "1", "2", "3", "4", "5",
        }  # fmt: skip


async def test_what_ended_long_ago_is_removed(
    desk: Desk, ledger: TestLedger, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "PRUNE_EVERY_S", 0.1)
    async with receiver() as hook:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        running = start()
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, 5)])
        await desk.until_all(which, DELIVERED, 1)
        await running.cut()
        start(webhook_days_kept=1e-6)
        await desk.until_all(which, DELIVERED, 0)
        assert await desk.rows("SELECT FROM webhooks.attempts") == []
