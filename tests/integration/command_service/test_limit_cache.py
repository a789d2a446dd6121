"""The limits of the tables in a process's memory: followed, and kept while they cannot be read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from command_service.admission.limits import LimitCache
from paycore.domain.limits import Limit, Place, RateLimit, Source, VelocityLimit
from paycore.runtime.database import open_pool
from paycore.runtime.limits.table import LimitTable, Said
from paycore.runtime.pools import PoolName
from paycore.runtime.refreshed import MAX_AGE_S
from tests.support.clocks import ManualClock
from tests.support.databases import OwnDatabase
from tests.support.postgres_proxy import PostgresProxy

DEVICE = Place("app", "", Limit.DEVICE)
CONFIGURED = LimitTable().with_file({DEVICE: RateLimit(3, 3)})
SET = "INSERT INTO ledger.limits (client, method, name, switched_off, per_s, burst) VALUES "


@pytest.fixture
async def pool(database: OwnDatabase, proxy: PostgresProxy) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(proxy.dsn, size=1, name=PoolName.READING, application="limits")
    yield pool
    pool.terminate()


async def test_what_the_tables_say_is_followed_row_by_row(
    pool: asyncpg.Pool, admin: asyncpg.Connection
) -> None:
    cache = LimitCache(pool, ManualClock(), CONFIGURED)
    assert cache.table() is CONFIGURED
    await admin.execute(
        f"{SET} ('app', '', 'device', false, 0.5, 2), ('', '', 'user', true, NULL, NULL)"
    )
    await admin.execute(
        "INSERT INTO ledger.limits (client, method, name, switched_off, window_s, payees,"
        " identifiers) VALUES ('', '', 'velocity', false, 60, 5, 2)"
    )
    await cache.load()
    table = cache.table()
    own = table.in_force(DEVICE)
    assert own is not None
    assert own[1] == Said(RateLimit(0.5, 2), Source.DATABASE, own[1].revision)
    assert Limit.USER not in table.rates("app", "")
    assert table.velocity("app") == VelocityLimit(60, 5, 2)
    # Nothing is planned anew while nothing changes.
    await cache.load()
    assert cache.table() is table
    await admin.execute("DELETE FROM ledger.limits")
    await cache.load()
    assert cache.table().rates("app", "")[Limit.DEVICE].rate == RateLimit(3, 3)


async def test_without_the_database_the_last_limits_hold_however_old(
    pool: asyncpg.Pool, proxy: PostgresProxy, admin: asyncpg.Connection
) -> None:
    clock = ManualClock()
    cache = LimitCache(pool, clock, CONFIGURED)
    await admin.execute(f"{SET} ('app', '', 'device', false, 0.5, 2)")
    await cache.load()
    await admin.execute("UPDATE ledger.limits SET burst = 1")
    proxy.refusing = True
    await proxy.cut()
    clock.at_s += 100 * MAX_AGE_S
    assert not await cache.refresh()
    assert cache.age_s() == 100 * MAX_AGE_S
    assert cache.table().rates("app", "")[Limit.DEVICE].rate == RateLimit(0.5, 2)
    proxy.refusing = False
    assert await cache.refresh()
    assert cache.table().rates("app", "")[Limit.DEVICE].rate == RateLimit(0.5, 1)
