"""One leader for each sink: whoever holds its advisory lock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

import database

CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 35.0
"""Longer than the role's own statement_timeout, which ends a statement on the server too."""

_CLOSE_TIMEOUT_S = 2.0


@asynccontextmanager
async def connection(dsn: str, application: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that is closed, by force where needed, at the end."""
    opened = await asyncpg.connect(
        dsn,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=STATEMENT_TIMEOUT_S,
        server_settings={"application_name": application},
    )
    try:
        yield opened
    finally:
        try:
            await opened.close(timeout=_CLOSE_TIMEOUT_S)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            opened.terminate()


class Leadership:
    """A sink's lock, which lives and dies with one connection."""

    def __init__(self, connection: asyncpg.Connection, sink: str) -> None:
        self._connection = connection
        self._sink = sink
        self._queries: Any = database.load("projector")
        self.lost = asyncio.Event()
        """Set once the connection, and with it the lock, is gone."""

    @classmethod
    def over(cls, connection: asyncpg.Connection, sink: str) -> Self:
        """The lock of `sink` on `connection`, not yet held."""
        leadership = cls(connection, sink)

        def gone(_: object) -> None:
            leadership.lost.set()

        connection.add_termination_listener(gone)
        return leadership

    async def try_lead(self) -> bool:
        """Take the lock if no other session holds it."""
        held: bool = await self._queries.try_lead(self._connection, sink=self._sink)
        return held
