"""Reading from a real replica: what it proves, what it waits for, and its life in the stack."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import asyncpg
import grpc
import pytest

from deploy.local import DATABASE, REPLICA, LocalStack
from deploy.local.endpoints import with_place
from operations.migrate.local_seed import seed_local
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.domain.transfers import Posted
from paycore.runtime.channel import open_channel
from query_service.readers.postgres.reader import PostgresReader
from query_service.readers.records import AccountRecord
from tests.integration.query_service.readers.conftest import ledger_reader, terms
from tests.support.command_core import CommandCore, command_core, payment
from tests.support.run_folder import run_folder


@pytest.fixture(scope="module")
def pair() -> Iterator[LocalStack]:
    """A primary with a replica, apart from the stack of the other tests."""
    with run_folder() as folder:
        stack = LocalStack(folder, parts={"postgres", REPLICA}, schema=True)
        stack.start()
        try:
            seed_local(stack.endpoints.postgres_dsn["paycore_owner"])
            yield stack
        finally:
            stack.stop()


@pytest.fixture
async def core(pair: LocalStack) -> AsyncIterator[CommandCore]:
    async with command_core(pair.endpoints.postgres_dsn["paycore_command"]) as core:
        yield core


@pytest.fixture
async def nowhere() -> AsyncIterator[grpc.aio.Channel]:
    """What is plain needs no keys."""
    async with open_channel("127.0.0.1:1", None, service="signing") as channel:
        yield channel


@pytest.fixture
async def reader(pair: LocalStack, nowhere: grpc.aio.Channel) -> AsyncIterator[PostgresReader]:
    dsn = pair.endpoints.replica_dsn("paycore_query", DATABASE)
    assert dsn is not None
    async with ledger_reader(dsn, nowhere) as (reader, _):
        yield reader


@pytest.fixture
async def replica(pair: LocalStack) -> AsyncIterator[asyncpg.Connection]:
    """The replica's administrator."""
    assert pair.endpoints.replica_admin_dsn is not None
    connection = await asyncpg.connect(pair.endpoints.replica_admin_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def primary(pair: LocalStack) -> AsyncIterator[asyncpg.Connection]:
    admin = with_place(pair.endpoints.postgres_admin_dsn, database=DATABASE)
    connection = await asyncpg.connect(admin)
    yield connection
    await connection.close()


async def pay(core: CommandCore, *accounts: AccountId) -> Position:
    outcome = await core.one(payment(accounts[0], accounts[1], 1))
    assert isinstance(outcome, Posted)
    assert outcome.position is not None
    return outcome.position


async def test_a_write_at_the_primary_is_read_at_the_replica(
    core: CommandCore, reader: PostgresReader
) -> None:
    _, *accounts = await core.open(2)
    position = await pay(core, *accounts)
    answer = await reader.account(accounts[0], terms(position))
    assert answer.value is not None
    assert answer.value.balance == 999
    assert answer.freshness.source == "postgresql"
    assert answer.freshness.position is not None
    assert answer.freshness.position >= position
    assert answer.freshness.lag_us is not None


async def test_a_replica_that_stands_still_refuses_in_time_and_never_shows_less(
    core: CommandCore, reader: PostgresReader, replica: asyncpg.Connection
) -> None:
    _, *accounts = await core.open(2)
    first = await pay(core, *accounts)
    await reader.account(accounts[0], terms(first))
    await replica.execute("SELECT pg_wal_replay_pause()")
    try:
        while await replica.fetchval("SELECT pg_get_wal_replay_pause_state()") != "paused":
            await asyncio.sleep(0.01)
        second = await pay(core, *accounts)
        with pytest.raises(PaycoreError) as caught:
            await reader.account(accounts[0], terms(second, within_s=3.0))
        assert caught.value.reason is Reason.INDEX_BEHIND
        assert Position.decode(caught.value.metadata["position"]) < second
        # What was seen is seen again, and how old it is.
        answer = await reader.account(accounts[0], terms(first))
        assert answer.value is not None
        assert answer.value.balance == 999
        assert answer.freshness.lag_us is not None
        assert answer.freshness.lag_us > 500_000

        waiting = asyncio.create_task(reader.account(accounts[0], terms(second)))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    finally:
        await replica.execute("SELECT pg_wal_replay_resume()")
    answer = await waiting
    assert answer.value is not None
    assert answer.value.balance == 998


async def test_a_position_below_which_a_transaction_is_open_is_not_proved_by_its_row(
    core: CommandCore, reader: PostgresReader, primary: asyncpg.Connection
) -> None:
    """Who was shown the position elsewhere was shown that transaction too, once it had ended."""
    _, *accounts = await core.open(2)
    opened = primary.transaction()
    await opened.start()
    xid = await primary.fetchval("SELECT pg_current_xact_id()")
    # The replica must have heard of it: a row makes it write.
    await primary.execute("CREATE TEMP TABLE beside (id int) ON COMMIT DROP")
    try:
        later = await pay(core, *accounts)
        assert later.xid > xid
        with pytest.raises(PaycoreError) as caught:
            await reader.account(accounts[0], terms(later, within_s=3.0))
        assert caught.value.reason is Reason.INDEX_BEHIND
        # The row itself is there, as a reading without that promise shows.
        answer = await reader.account(accounts[0], terms())
        assert answer.value is not None
        assert answer.value.balance == 999
        assert answer.freshness.position is not None
        assert answer.freshness.position < later
    finally:
        await opened.rollback()
    assert (await reader.account(accounts[0], terms(later))).value is not None


async def test_the_role_can_write_on_neither(pair: LocalStack) -> None:
    for dsn in (
        pair.endpoints.postgres_dsn["paycore_query"],
        pair.endpoints.replica_dsn("paycore_query", DATABASE),
    ):
        connection = await asyncpg.connect(dsn)
        try:
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute("DELETE FROM ledger.transfers")
        finally:
            await connection.close()


async def test_a_replica_that_dies_is_started_again_and_goes_on(
    pair: LocalStack, core: CommandCore, reader: PostgresReader
) -> None:
    _, *accounts = await core.open(2)
    os.kill(pair.part_pids(REPLICA)[0], signal.SIGKILL)
    position = await pay(core, *accounts)
    await asyncio.to_thread(pair.wait_part, REPLICA)
    async with asyncio.timeout(60):
        while True:
            found = await ready(reader, accounts[0], position)
            if found is not None:
                break
            await asyncio.sleep(0.1)
    assert found.balance == 999
    assert pair.part_restarts(REPLICA) >= 1


async def test_a_new_start_copies_the_primary_anew(
    pair: LocalStack, core: CommandCore, reader: PostgresReader
) -> None:
    _, *accounts = await core.open(2)
    await asyncio.to_thread(pair.kill_part, REPLICA)
    position = await pay(core, *accounts)
    await asyncio.to_thread(pair.start_part, REPLICA)
    async with asyncio.timeout(60):
        while (await ready(reader, accounts[0], position)) is None:
            await asyncio.sleep(0.1)


async def ready(
    reader: PostgresReader, account: AccountId, position: Position
) -> AccountRecord | None:
    """The account as it is once `position` is there; None while it cannot be had."""
    try:
        return (await reader.account(account, terms(position))).value
    except PaycoreError:
        return None
