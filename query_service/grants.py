"""The grants that decide what clients see, on a connection of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from paycore.domain.grants import Grants
from paycore.runtime.clock import Clock
from paycore.runtime.database import open_pool
from paycore.runtime.refreshed import Refreshed, grants_of

READ_TIMEOUT_S = 5.0


class GrantsLoader(Refreshed[Grants]):
    """Keeps the grants current, whether or not PostgreSQL is there at the start."""

    def __init__(self, dsn: str, queries: Any, clock: Clock) -> None:
        super().__init__("grants", clock)
        self._dsn = dsn
        self._queries = queries
        self._pool: asyncpg.Pool | None = None

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
        return grants_of(await self._queries.read_grants(self._pool))
