"""Who is told of what: from its creation on, by the grants of now, each event once."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal

from deploy.local import Endpoints
from paycore.domain.webhooks import DeliveryState
from projector.settings import ProjectorSettings
from tests.integration.projector.ledger import Payment, TestLedger, random_payments
from tests.integration.projector.test_process import launch, variables
from tests.integration.webhooks.conftest import Start
from tests.integration.webhooks.desk import Desk
from tests.integration.webhooks.receiver import receiver
from tests.support.command_core import payment, posted
from tests.support.data_key_server import DataKeyServer
from tests.support.seeds import seeded

DELIVERED = DeliveryState.DELIVERED


async def told(desk: Desk, subscription: int) -> set[str]:
    """Ids of what a subscription was told about."""
    rows = await desk.rows(
        "SELECT body FROM webhooks.deliveries WHERE subscription = $1", subscription
    )
    return {json.loads(row["body"])["data"]["id"] for row in rows}


async def test_a_subscription_is_told_what_it_asked_for_from_its_creation_on(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    async with receiver() as hook:
        a, b = await ledger.open_pair()
        c, d = await ledger.open_pair()
        before = await ledger.post([Payment(a, b, 1)])
        everything = (await desk.create(hook.url)).figures.subscription
        payments = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        of_b = (await desk.create(hook.url, accounts=(b,))).figures.subscription
        declines = (await desk.create(hook.url, "transfer.declined")).figures.subscription
        of_payee = (
            await desk.create(hook.url, "transfer.declined", accounts=(b,))
        ).figures.subscription
        [first] = await ledger.post([Payment(a, b, 2)])
        [second] = await ledger.post([Payment(c, d, 3)])
        refused = await ledger.decline(Payment(a, b, 4))
        start()
        await desk.followed()
        assert str(before[0]) not in await told(desk, everything)
        assert await told(desk, everything) == {str(first), str(second), str(refused)}
        assert await told(desk, payments) == {str(first), str(second)}
        assert await told(desk, of_b) == {str(first)}
        assert await told(desk, declines) == {str(refused)}
        # What the payer could not pay is not the payee's to know.
        assert await told(desk, of_payee) == set()
        late = (await desk.create(hook.url)).figures.subscription
        [third] = await ledger.post([Payment(a, b, 5)])
        await desk.followed()
        assert await told(desk, late) == {str(third)}


async def test_the_grants_of_now_decide_and_no_client_is_told_what_it_may_not_read(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    async with receiver() as hook:
        # The test ledger's accounts are app's.
        theirs = (await desk.create(hook.url, client="loadtest")).figures.subscription
        own = (await desk.create(hook.url)).figures.subscription
        start()
        a, b = await ledger.open_pair()
        await ledger.post([Payment(a, b, 1)])
        await desk.followed()
        assert len(await told(desk, own)) == 3
        assert await told(desk, theirs) == set()
        await ledger.execute("INSERT INTO ledger.grants VALUES ('loadtest', 'READ', 'ALL', '')")
        [seen] = await ledger.post([Payment(a, b, 2)])
        await desk.followed()
        assert await told(desk, theirs) == {str(seen)}
        await ledger.execute("DELETE FROM ledger.grants WHERE client = 'app' AND action = 'READ'")
        await ledger.post([Payment(a, b, 3)])
        await desk.followed()
        assert str(seen) in await told(desk, own)
        assert len(await told(desk, own)) == 4
        assert len(await told(desk, theirs)) == 2


async def test_every_entry_that_the_command_service_posts_is_told(desk: Desk, start: Start) -> None:
    async with receiver() as hook:
        which = (await desk.create(hook.url, client="loadtest")).figures.subscription
        start()
        _, a, b = await desk.core.open(2)
        [one] = posted([await desk.core.one(payment(a, b, 5))])
        await desk.until_all_of(which, {str(a), str(b), str(one.transfer.id)})
        rows = await desk.rows("SELECT event FROM webhooks.deliveries ORDER BY id")
        counted = {name: len(list(rest)) for name, rest in itertools.groupby(
            sorted(row["event"] for row in rows))}  # fmt: skip
        assert counted == {"account.opened": 3, "transfer.posted": 3}


async def test_kill_9_loses_no_event_and_gives_none_a_second_id(
    endpoints: Endpoints,
    desk: Desk,
    ledger: TestLedger,
    settings: ProjectorSettings,
    server: DataKeyServer,
) -> None:
    rng = seeded("webhooks")
    async with receiver() as hook:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        environment = variables(settings, endpoints) | {
            "PAYCORE_PROJECTOR_SINKS": "webhooks",
            "PAYCORE_PROJECTOR_SIGNING_TARGET": server.target,
            "PAYCORE_PROJECTOR_PAGE_ENTRIES": "7",
            "PAYCORE_PROJECTOR_WEBHOOK_HTTP": "true",
            "PAYCORE_PROJECTOR_WEBHOOK_NETWORKS": "127.0.0.0/8",
            "PAYCORE_PROJECTOR_WEBHOOK_ATTEMPT_S": "0.5",
        }
        accounts = await ledger.open_accounts(5)
        ids: list[int] = []
        for round_of in range(3):
            process = await launch(environment)
            sent = len(hook.received)
            async with asyncio.timeout(90):
                while len(hook.received) < sent + 5:
                    ids += await ledger.post(random_payments(rng, accounts, 3))
                    await asyncio.sleep(0.05)
            for _ in range(rng.randint(1, 10)):
                ids += await ledger.post(random_payments(rng, accounts, 3))
            process.kill()
            assert await process.wait() == -signal.SIGKILL, round_of
        process = await launch(environment)
        async with asyncio.timeout(60):
            await desk.followed()
            await desk.until_all(which, DELIVERED, len(ids))
        process.terminate()
        assert await process.wait() == 0
        events = [json.loads(one.body) for one in hook.received]
        assert {event["data"]["id"] for event in events} == set(map(str, ids))
        by_event: dict[str, set[bytes]] = {}
        for one, event in zip(hook.received, events, strict=True):
            by_event.setdefault(event["id"], set()).add(one.body)
        assert len(by_event) == len(ids)
        assert all(len(bodies) == 1 for bodies in by_event.values())


async def test_without_keys_deliveries_wait_and_are_not_counted_as_tried(
    desk: Desk, ledger: TestLedger, start: Start, server: DataKeyServer
) -> None:
    async with receiver() as hook:
        which = (await desk.create(hook.url, "transfer.posted")).figures.subscription
        await server.stop()
        start()
        accounts = await ledger.open_pair()
        await ledger.post([Payment(*accounts, 1)])
        await asyncio.sleep(2.5)
        [waiting] = await desk.deliveries(which)
        assert waiting.state is DeliveryState.PENDING
        assert waiting.attempts == ()
        assert hook.received == []
        await server.start()
        await desk.until_all(which, DELIVERED, 1)
