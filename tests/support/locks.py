"""Locks that a test holds, and sessions that wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from paycore.domain.accounts import AccountId
from tests.support.databases import OwnDatabase

WITHIN_S = 90.0


@asynccontextmanager
async def locked(admin: asyncpg.Connection, *accounts: AccountId) -> AsyncIterator[None]:
    """Another session holds these accounts' rows."""
    async with admin.transaction():
        await admin.execute(
            "SELECT FROM ledger.accounts WHERE id = ANY($1) ORDER BY id FOR UPDATE", list(accounts)
        )
        yield


async def until_waiting(
    database: OwnDatabase, sessions: int = 1, role: str = "paycore_command"
) -> None:
    """Return once so many sessions of `role` wait for a lock."""
    observer = await asyncpg.connect(database.admin_dsn)
    try:
        async with asyncio.timeout(WITHIN_S):
            while await _waiting(observer, role) < sessions:
                await asyncio.sleep(0.01)
    finally:
        await observer.close()


async def until_blocked(watching: asyncpg.Connection, pid: int, waiting: asyncio.Task[Any]) -> None:
    """Return once the session `pid`, which `waiting` uses, waits for another."""
    async with asyncio.timeout(WITHIN_S):
        while not await watching.fetchval("SELECT pg_blocking_pids($1)", pid):
            assert not waiting.done()
            await asyncio.sleep(0.01)


async def _waiting(observer: asyncpg.Connection, role: str) -> int:
    waiting: int = await observer.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND usename = $1 AND wait_event_type = 'Lock'",
        role,
    )
    return waiting
