"""A pool tells who waits for its connections: those who find none free, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY

from paycore.runtime.database import close_pool, open_pool
from paycore.runtime.pools import PoolName
from tests.support.databases import OwnDatabase

NAME = PoolName.RISK


def shown(what: str) -> float:
    value = REGISTRY.get_sample_value(f"paycore_database_pool_{what}", {"pool": NAME.value})
    assert value is not None
    return value


@pytest.fixture
async def pool(database: OwnDatabase) -> Any:
    pool = await open_pool(database.dsn("command"), size=2, application="pools", name=NAME)
    yield pool
    await close_pool(pool)


async def test_who_finds_a_connection_free_does_not_wait(pool: asyncpg.Pool) -> None:
    before = shown("wait_seconds_count")
    assert [shown(one) for one in ("connections", "connections_in_use")] == [1, 0]
    async with pool.acquire(), pool.acquire():
        # The second one had to be opened.
        assert [shown(one) for one in ("connections", "connections_in_use")] == [2, 2]
        assert shown("connections_max") == 2
    assert await pool.fetchval("SELECT 1") == 1
    assert shown("wait_seconds_count") == before
    assert [shown(one) for one in ("connections", "connections_in_use")] == [2, 0]


async def test_who_finds_none_waits_and_is_counted_also_who_gives_up(pool: asyncpg.Pool) -> None:
    count, seconds = shown("wait_seconds_count"), shown("wait_seconds_sum")
    async with pool.acquire():
        async with pool.acquire():
            patient = asyncio.create_task(pool.fetchval("SELECT 1"))
            with pytest.raises(TimeoutError):
                async with pool.acquire(timeout=0.2):
                    raise AssertionError("there was none")
            assert shown("waiting") == 1
            assert shown("wait_seconds_count") == count + 1
        assert await patient == 1
    assert shown("waiting") == 0
    assert shown("wait_seconds_count") == count + 2
    assert shown("wait_seconds_sum") - seconds >= 0.4


async def test_a_pool_that_is_closed_counts_nobody_as_waiting(pool: asyncpg.Pool) -> None:
    before = shown("wait_seconds_count")
    await pool.close()
    with pytest.raises(asyncpg.InterfaceError):
        await pool.fetchval("SELECT 1")
    assert [shown(one) for one in ("connections", "connections_in_use", "waiting")] == [0, 0, 0]
    assert shown("wait_seconds_count") == before
