"""A process keeps its id lease however busy its other connections are."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from paycore.domain.accounts import AccountId
from paycore.runtime import snowflake
from tests.support.command_core import command_core
from tests.support.databases import OwnDatabase

LOOK_UPS = 50
"""More than the pool for look-ups has connections."""

EXPIRY = "SELECT max(expires_at) FROM ledger.id_leases"


async def test_a_flood_of_look_ups_that_hang_does_not_cost_the_lease(
    database: OwnDatabase, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snowflake, "RENEW_EVERY_S", 0.05)
    async with command_core(database.dsn("command")) as core:
        async with admin.transaction():
            await admin.execute("LOCK TABLE ledger.accounts IN ACCESS EXCLUSIVE MODE")
            flood = [asyncio.create_task(core.accounts.read(AccountId(1))) for _ in range(LOOK_UPS)]
            async with asyncio.timeout(5):
                while core.pool.get_idle_size() or core.pool.get_size() < core.pool.get_max_size():
                    await asyncio.sleep(0.01)
            for _ in range(2):
                before = await admin.fetchval(EXPIRY)
                async with asyncio.timeout(2):
                    while await admin.fetchval(EXPIRY) == before:
                        await asyncio.sleep(0.01)
            assert await core.ids.take(1)
            assert not any(task.done() for task in flood)
        assert set(await asyncio.gather(*flood)) == {None}
