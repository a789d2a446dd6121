"""Readings that are left at any point give their connections back, with no transaction open."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from paycore.domain.accounts import AccountId
from paycore.domain.position import Position
from paycore.runtime.clock import SystemClock
from query_service.personal import DetailsOpener
from query_service.readers.port import StatementFilter, TransferFilter
from query_service.readers.postgres.reader import PostgresReader
from query_service.readers.postgres.snapshots import CONNECTIONS, Snapshots
from tests.integration.query_service.readers.conftest import World, terms
from tests.support.command_core import payment, posted
from tests.support.seeds import rounds

LEFT = rounds("PAYCORE_READS_LEFT", 400)
SESSIONS = "SELECT state FROM pg_stat_activity WHERE datname = $1 AND application_name = $2"


@pytest.fixture
async def snapshots(world: World) -> AsyncIterator[Snapshots]:
    snapshots = Snapshots(world.database.dsn("query"), SystemClock())
    yield snapshots
    await snapshots.close()


@pytest.fixture
def reader(world: World, snapshots: Snapshots) -> PostgresReader:
    return PostgresReader(snapshots, DetailsOpener(world.keys), SystemClock())


async def leave(
    read: Callable[[], Awaitable[object]], chance: random.Random, turns: int | None
) -> bool:
    """Begin a reading and leave it after so many turns of the loop, or some milliseconds; whether
    it was still under way."""
    task = asyncio.ensure_future(read())
    if turns is None:
        await asyncio.sleep(chance.random() * 0.02)
    else:
        for _ in range(turns):
            await asyncio.sleep(0)
    under_way = not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return under_way


async def assert_whole(world: World, snapshots: Snapshots, reader: PostgresReader) -> None:
    assert snapshots.under_way == 0
    # All connections at once, each with a snapshot of now.
    _, *accounts = await world.desk.core.open(2)
    (outcome,) = posted([await world.desk.core.one(payment(accounts[0], accounts[1], 1))])
    async with asyncio.timeout(90), AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            taken = await stack.enter_async_context(snapshots.read(terms(outcome.position)))
            seen = await taken.connection.fetchval(
                "SELECT balance FROM ledger.accounts WHERE id = $1", accounts[0]
            )
            assert seen == 999
    async with asyncio.timeout(90):
        while True:
            rows = await world.admin.fetch(SESSIONS, world.database.name, "query-history")
            # Those of the world's own reader are among them.
            states = [row["state"] for row in rows]
            if "idle in transaction" not in states and "active" not in states:
                break
            await asyncio.sleep(0.05)
    assert len(states) <= 2 * CONNECTIONS


@pytest.mark.parametrize("with_position", [False, True])
async def test_statements_that_are_left_at_every_point_leave_the_pool_whole(
    world: World,
    snapshots: Snapshots,
    reader: PostgresReader,
    rng: random.Random,
    with_position: bool,
) -> None:
    position = await world.last_position() if with_position else None
    wanted = StatementFilter(AccountId(world.accounts[0]), 1, 2**60, include_holds=True)

    async def read() -> object:
        return await reader.statement(wanted, None, 50, terms(position))

    await read()
    left = 0
    for start in range(0, LEFT, 20):
        # Some at each turn of the loop, some at any time, more at once than there are connections.
        left += sum(
            await asyncio.gather(
                *(leave(read, rng, turn) for turn in range(start, start + 10)),
                *(leave(read, rng, None) for _ in range(10)),
            )
        )
    assert left > LEFT / 10
    await assert_whole(world, snapshots, reader)


async def test_lists_and_waits_that_are_left_do_too(
    world: World, snapshots: Snapshots, reader: PostgresReader, rng: random.Random
) -> None:
    account = AccountId(world.accounts[0])
    last = await world.last_position()
    never = Position(last.epoch, last.xid + 1_000_000, 1)

    async def list_them() -> object:
        return await reader.transfers(TransferFilter(account), None, 50, terms())

    async def count() -> object:
        return await reader.total(TransferFilter(account, include_declines=True), terms())

    async def wait() -> object:
        return await reader.account(account, terms(never, 5.0))

    async def time_out() -> object:
        return await reader.statement(
            StatementFilter(account, 1, 2**60), None, 50, terms(within_s=0.03)
        )

    for _ in range(LEFT // 20):
        await asyncio.gather(
            *(
                leave(read, rng, None)
                for read in (list_them, count, wait, time_out)
                for _ in range(5)
            )
        )
    await assert_whole(world, snapshots, reader)
