"""Watches of our client go on while the query service is restarted and killed under load.

PAYCORE_CRASH_ROUNDS says how often each.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing

import asyncpg
import pytest

from deploy.local import LocalStack
from paycore.client import PaycoreClient, Transfer, TransferState
from tests.crash.conftest import CLIENT
from tests.support.callers import Callers
from tests.support.load import Load
from tests.support.seeds import rounds

ROUNDS = rounds("PAYCORE_CRASH_ROUNDS", 2)

pytestmark = pytest.mark.timeout(240 + 120 * ROUNDS)


@pytest.fixture
async def tables(services: LocalStack) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(services.endpoints.postgres_dsn["paycore_audit"])
    yield connection
    await connection.close()


async def test_watches_miss_and_double_nothing_while_the_service_restarts(
    services: LocalStack,
    callers: Callers,
    client: PaycoreClient,
    rng: random.Random,
    tables: asyncpg.Connection,
) -> None:
    _, *accounts = await callers.of(CLIENT).open(6, balance=300)
    load = Load(client, accounts, rng)
    seen: dict[int, list[Transfer]] = {account: [] for account in accounts}

    async def watch(account: int) -> None:
        watching = client.watch_transfers(account, include_declines=True)
        async with aclosing(watching):
            async for transfer in watching:
                seen[account].append(transfer)

    first = {account: await entries(tables, account) for account in accounts}
    tasks = [asyncio.create_task(watch(account)) for account in accounts]
    await asyncio.sleep(2)
    async with load.running(callers=4):
        for _ in range(ROUNDS):
            await load.until_answered(30)
            await asyncio.to_thread(services.restart_part, "query")
            await load.until_answered(30)
            await asyncio.to_thread(services.crash_part, "query")
            await asyncio.to_thread(services.wait_part, "query", 120.0)
        await load.until_answered(30)
    for account in accounts:
        after_first = (await entries(tables, account))[len(first[account]) :]
        refused = await declines(tables, account)
        async with asyncio.timeout(60):
            while len(seen[account]) < len(after_first) + len(refused):
                assert not any(task.done() for task in tasks)
                await asyncio.sleep(0.1)
        failed = [one.id for one in seen[account] if one.state is TransferState.FAILED]
        posted = [one.id for one in seen[account] if one.state is not TransferState.FAILED]
        assert posted == after_first
        assert failed == refused
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def entries(tables: asyncpg.Connection, account: int) -> list[int]:
    rows = await tables.fetch(
        "SELECT transfer FROM ledger.entries WHERE account = $1 ORDER BY version", account
    )
    return [row["transfer"] for row in rows]


async def declines(tables: asyncpg.Connection, account: int) -> list[int]:
    rows = await tables.fetch(
        "SELECT id FROM ledger.declines WHERE debit_account = $1 ORDER BY xid, id", account
    )
    return [row["id"] for row in rows]
