"""The grants that decide what clients see: loaded from PostgreSQL, again every few seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import structlog

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.runtime.clock import Clock
from paycore.runtime.database import DISCONNECTED, open_pool

REFRESH_INTERVAL_S = 2.0
"""A grant that is given or taken away counts after so long, while PostgreSQL answers."""

MAX_AGE_S = 60.0
"""Grants older than this no longer count: one may have been taken away meanwhile."""

READ_TIMEOUT_S = 5.0

log = structlog.get_logger()


class GrantsLoader:
    """Keeps the grants current. Nothing is known, and nothing allowed, before the first load."""

    def __init__(self, dsn: str, queries: Any, clock: Clock) -> None:
        self._dsn = dsn
        self._queries = queries
        self._clock = clock
        self._pool: asyncpg.Pool | None = None
        self._grants = Grants()
        self._loaded_at_s: float | None = None
        self.loaded = asyncio.Event()
        """Set once grants have been loaded for the first time."""

    def age_s(self) -> float | None:
        """Seconds since the last load; None before the first."""
        if self._loaded_at_s is None:
            return None
        return self._clock.monotonic_s() - self._loaded_at_s

    def current(self) -> Grants:
        """The grants as last loaded.

        Raises PaycoreError DATABASE_UNAVAILABLE when that never was or is too long ago.
        """
        age_s = self.age_s()
        if age_s is None or age_s > MAX_AGE_S:
            raise PaycoreError(
                Reason.DATABASE_UNAVAILABLE, "grants are not known now", retry_after_ms=1_000
            )
        return self._grants

    async def refresh(self) -> bool:
        """Load once; returns whether PostgreSQL answered."""
        try:
            self._grants = await self._read()
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            log.warning("grants cannot be loaded", error=type(error).__name__, age_s=self.age_s())
            return False
        self._loaded_at_s = self._clock.monotonic_s()
        self.loaded.set()
        return True

    async def run(self) -> None:
        """Load again and again."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_INTERVAL_S)

    async def close(self) -> None:
        """Close the connection, within READ_TIMEOUT_S."""
        if self._pool is not None:
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def _read(self) -> Grants:
        if self._pool is None:
            self._pool = await open_pool(
                self._dsn, size=1, application="query", command_timeout_s=READ_TIMEOUT_S
            )
        rows = await self._queries.read_grants(self._pool)
        return Grants.of(
            Grant(
                row["client"],
                GrantAction(row["action"]),
                GrantScope(row["scope"]),
                row["institution"],
            )
            for row in rows
        )
