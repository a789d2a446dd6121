"""Transactions on the signing schema, which all signing processes share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

import database
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.database import DISCONNECTED, is_away
from signing_service.acting import ACTING

ACQUIRE_TIMEOUT_S = 1.0
"""Longest wait for a connection of the pool, in seconds."""

_BUSY = (
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)


class Transactions:
    """Connections of a pool, and the named queries to run on them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.queries: Any = database.load("signing")

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[asyncpg.Connection]:
        """One transaction, whose security events name for whom the call acts.

        Raises PaycoreError DATABASE_UNAVAILABLE or CONTENTION when the database cannot do it now.
        """
        async with self.statement() as connection, connection.transaction():
            acting = ACTING.get()
            if acting is not None:
                await self.queries.act_as(connection, **acting._asdict())
            yield connection

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection on which each statement is a transaction. Raises as `begin`."""
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection
        except _BUSY as error:
            raise PaycoreError(Reason.CONTENTION, "the signing database is busy") from error
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            if not is_away(error):
                raise
            raise PaycoreError(
                Reason.DATABASE_UNAVAILABLE, "the signing database cannot serve now"
            ) from error

    async def check_ready(self) -> None:
        """Raise unless the schema is there and readable."""
        async with self.statement() as connection:
            await self.queries.check_ready(connection)
