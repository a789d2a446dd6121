"""The grants that decide what clients see, on a connection of their own."""

from __future__ import annotations

from typing import Any

from paycore.domain.grants import Grants
from paycore.runtime.clock import Clock
from paycore.runtime.database import LazyPool
from paycore.runtime.pools import PoolName
from paycore.runtime.refreshed import Refreshed, grants_of

READ_TIMEOUT_S = 5.0


class GrantsLoader(Refreshed[Grants]):
    """Keeps the grants current, whether or not PostgreSQL is there at the start."""

    def __init__(self, dsn: str, queries: Any, clock: Clock) -> None:
        super().__init__("grants", clock)
        self._pool = LazyPool(
            dsn, size=1, name=PoolName.GRANTS, application="query", command_timeout_s=READ_TIMEOUT_S
        )
        self._queries = queries

    async def close(self) -> None:
        """Close the connection, within READ_TIMEOUT_S."""
        await self._pool.close()

    async def _read(self) -> Grants:
        return grants_of(await self._queries.read_grants(await self._pool.get()))
