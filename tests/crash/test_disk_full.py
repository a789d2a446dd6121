"""PostgreSQL's disk is full under load: nothing acknowledged is lost, and all goes on once there is
room. The disk is a file system of limited size, which takes root."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from deploy.local import LocalStack
from deploy.local.state import StateFolder, ensure_secrets
from tests.support.callers import Callers
from tests.support.crashing.checker import check
from tests.support.crashing.defects import logged_defects
from tests.support.crashing.history import Verdict
from tests.support.crashing.judging import AUDIT, Snapshots, writes_of
from tests.support.crashing.linear import order_breaches
from tests.support.crashing.load import Load
from tests.support.crashing.sendings import ATTEMPT_S
from tests.support.crashing.tables import read_tables
from tests.support.ledger_checks import whole_ledger
from tests.support.run_folder import run_folder
from tests.support.small_disk import NoSmallDiskError, SmallDisk, small_disk

MEGABYTES = 400
FULL_S = 6.0
WITHIN_S = 240.0
PARTS = frozenset({"postgres", "redis", "signing", "command"})


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a stack of this test's own."""
    with run_folder() as folder:
        yield folder


@pytest.fixture
def disk(folder: Path) -> Iterator[SmallDisk]:
    """PostgreSQL's own, under the stack's folder."""
    state = StateFolder(folder)
    state.create()
    # Before there is a folder of PostgreSQL's: they are not made where one is.
    ensure_secrets(state)
    try:
        with small_disk(folder / "postgres", MEGABYTES) as disk:
            yield disk
    except NoSmallDiskError as error:
        # Without root there is no disk of limited size to be had, and so nothing to show.
        pytest.skip(str(error))


@pytest.fixture
async def own_stack(folder: Path, disk: SmallDisk) -> AsyncIterator[LocalStack]:
    """What payments need."""
    stack = LocalStack(folder, processes=2, parts=PARTS)
    try:
        await asyncio.to_thread(stack.start)
        yield stack
    finally:
        disk.clear()
        await asyncio.to_thread(stack.stop)


async def write_ahead(stack: LocalStack) -> None:
    """Have PostgreSQL begin new files of its log until it cannot, as time would."""
    try:
        connection = await asyncpg.connect(stack.endpoints.postgres_admin_dsn)
        try:
            async with asyncio.timeout(60):
                while True:
                    await connection.execute("SELECT pg_switch_wal()")
                    await asyncio.sleep(0.1)
        finally:
            connection.terminate()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        # There it is: the disk is full.
        return


@pytest.mark.timeout(900)
async def test_a_full_disk_loses_and_doubles_nothing(
    own_stack: LocalStack, disk: SmallDisk, rng: random.Random
) -> None:
    dsn = own_stack.endpoints.postgres_dsn[AUDIT]
    async with Callers(own_stack.endpoints) as callers:
        load = Load(callers, rng)
        await load.prepare()
        before = await read_tables(dsn)
        snapshots = Snapshots()
        async with snapshots.taken(dsn, load.bank.accounts), load.running(clients=9, readers=1):
            await load.until_acknowledged(100, WITHIN_S)
            await asyncio.to_thread(disk.fill)
            await write_ahead(own_stack)
            await asyncio.sleep(FULL_S)
            acknowledged = load.history.acknowledged
            await asyncio.sleep(FULL_S)
            stood_still = load.history.acknowledged == acknowledged
            disk.clear()
            await asyncio.to_thread(own_stack.wait_part, "postgres", WITHIN_S)
            await load.until_acknowledged(100, WITHIN_S)
        await load.settle(WITHIN_S + ATTEMPT_S)
        await load.replay(500)
    state = StateFolder(own_stack.endpoints.state)
    assert logged_defects(state.log(part) for part in ("command", "signing")) == []
    tables = await read_tables(dsn)
    findings = check(load.history, tables, frozenset(row.id for row in before.transfers))
    assert findings.all == ()
    writes = writes_of(load.history, tables, load.bank.accounts)
    assert list(order_breaches(load.bank.reads, writes)) == []
    assert snapshots.everybody == []
    await whole_ledger(dsn)
    assert stood_still, "the disk was never full"
    reasons = {
        reply.reason
        for operation in load.history
        for reply in operation.replies
        if reply.verdict is Verdict.UNHEARD
    }
    assert "INTERNAL" not in reasons, "a full disk is no fault of the service"
