"""One projector leads; another takes over; none goes on with another ledger's history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
from aiohttp import web

from deploy.local import Endpoints
from projector.settings import ProjectorSettings
from tests.integration.projector.conftest import Running
from tests.integration.projector.index import TestIndex, until
from tests.integration.projector.ledger import Payment, TestLedger
from tests.support.elastic_proxy import FaultyProxy

Start = Callable[[ProjectorSettings], Running]

LOCK_HOLDERS = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def test_one_leads_and_the_other_takes_over_when_it_dies(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    first = start(settings)
    accounts = await ledger.open_pair()
    await index.await_position(ledger)
    second = start(settings)

    async def stands_by() -> bool:
        return second.readiness.ready

    await until(stands_by)
    [holder] = await ledger.rows(LOCK_HOLDERS)
    await first.cut()
    await ledger.post([Payment(*accounts, 1)])
    await index.await_position(ledger)
    [successor] = await ledger.rows(LOCK_HOLDERS)
    assert successor != holder
    assert not second.task.done()
    await index.assert_equals(ledger)


async def test_a_leader_whose_lock_is_gone_stops_and_stands_by(
    endpoints: Endpoints,
    ledger: TestLedger,
    index: TestIndex,
    settings: ProjectorSettings,
    start: Start,
) -> None:
    first = start(settings)
    accounts = await ledger.open_pair()
    await index.await_position(ledger)
    second = start(settings)

    async def both_ready() -> bool:
        return first.readiness.ready and second.readiness.ready

    await until(both_ready)
    [holder] = await ledger.rows(LOCK_HOLDERS)
    with psycopg.connect(endpoints.postgres_admin_dsn) as administrator:
        administrator.execute("SELECT pg_terminate_backend(%s)", (holder["pid"],))
    for amount in range(1, 6):
        await ledger.post([Payment(*accounts, amount)])
        assert len(await ledger.rows(LOCK_HOLDERS)) <= 1
        await asyncio.sleep(0.1)
    await index.await_position(ledger)
    await until(both_ready)
    assert len(await ledger.rows(LOCK_HOLDERS)) == 1
    await index.assert_equals(ledger)


async def test_what_a_leader_that_is_gone_had_sent_replaces_nothing_newer(
    ledger: TestLedger, index: TestIndex, settings: ProjectorSettings, start: Start
) -> None:
    sent, late, arrived = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with FaultyProxy(settings.elasticsearch_url) as proxy:

        async def hold(request: web.Request, body: bytes) -> web.StreamResponse | None:
            if request.path != "/_bulk":
                return None
            sent.set()
            await late.wait()
            reply = await proxy.forward(request, body)
            assert reply.status == 200
            arrived.set()
            return reply

        first = start(settings.model_copy(update={"elasticsearch_url": proxy.url}))
        accounts = await ledger.open_pair()
        await index.await_position(ledger)
        proxy.fault = hold
        await ledger.post([Payment(*accounts, 5)])
        await asyncio.wait_for(sent.wait(), 60)
        # Its request is under way, and nobody waits for the reply any more.
        await first.cut()
        start(settings)
        await ledger.post([Payment(*accounts, 6)])
        await index.await_position(ledger)
        late.set()
        await asyncio.wait_for(arrived.wait(), 60)
    await index.client.indices.refresh(index=f"{index.prefix}-*")
    await index.assert_equals(ledger)
