"""Instance numbers of id generators: 1,024 in PostgreSQL, each leased to one process at most."""

from __future__ import annotations

import uuid
from typing import Any

import asyncpg
import structlog

import database
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.database import DISCONNECTED, close_pool, open_pool
from paycore.runtime.pools import PoolName

LEASE_S = 30.0
"""How long an instance number is held without renewal, by the database's clock, in seconds."""

SAFETY_S = 10.0
"""How much earlier than the lease ends its holder stops issuing ids, and how long a number that was
given back rests, in seconds."""

ASK_WITHIN_S = 3.0
"""How long the database may take to give a connection, and how long to answer on it, in seconds: a
renewal that failed by both is tried again before ids would have to stop."""

LEASE_TRIES = 10
"""Tries to lease a number: each can lose its pick to another process that starts now."""

log = structlog.get_logger()


class Numbers:
    """Leases for one holder, over a connection of its own: however busy the others are, they are
    renewed. Every method raises one of DISCONNECTED, or what asyncpg raises."""

    def __init__(self, dsn: str, application: str) -> None:
        """`application` is the name under which the database's sessions show it."""
        self._dsn = dsn
        self._application = application
        self._pool: asyncpg.Pool | None = None
        self._holder = uuid.uuid4()
        self._queries: Any = database.load("id_leases")

    async def open(self) -> None:
        """Connect."""
        self._pool = await open_pool(
            self._dsn,
            size=1,
            application=self._application,
            name=PoolName.IDS,
            command_timeout_s=ASK_WITHIN_S,
        )

    async def close(self) -> None:
        """Disconnect. What is leased stays so until it expires."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await close_pool(pool)

    async def lease(self, now_ms: int, until_ms: int) -> int:
        """A number of which nobody has issued an id at `now_ms` or later.

        Ids may be issued up to `until_ms`. Raises PaycoreError OVERLOADED when there is none, with
        how many are `leased` and how many are `ahead` of `now_ms`.
        """
        async with self._connection() as connection:
            for _ in range(LEASE_TRIES):
                number: int | None = await self._queries.lease(
                    connection,
                    holder=self._holder,
                    lease_s=LEASE_S,
                    now_ms=now_ms,
                    until_ms=until_ms,
                )
                if number is not None:
                    return number
            ahead = await self._queries.count_ahead(connection, now_ms=now_ms)
        raise PaycoreError(
            Reason.OVERLOADED,
            f"of the 1,024 id instance numbers none is free: {1024 - ahead} are leased, and ids of"
            f" {ahead} were issued up to a time that this process's clock has not reached",
            {"leased": str(1024 - ahead), "ahead": str(ahead)},
        )

    async def renew(self, number: int, until_ms: int) -> int | None:
        """Keep `number`, and issue ids up to `until_ms`; returns up to when they may be issued,
        which is never less than before. None where it is another's."""
        async with self._connection() as connection:
            renewed: int | None = await self._queries.renew(
                connection,
                instance=number,
                holder=self._holder,
                lease_s=LEASE_S,
                until_ms=until_ms,
            )
        return renewed

    async def give_back(self, number: int, issued_ms: int) -> None:
        """Leave `number` to others; its ids have come to `issued_ms`. It raises nothing: a number
        that cannot be given back is left to expire."""
        try:
            async with self._connection() as connection:
                await self._queries.release(
                    connection,
                    instance=number,
                    holder=self._holder,
                    rest_s=SAFETY_S,
                    issued_ms=issued_ms,
                )
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            log.warning("id lease left to expire", error=type(error).__name__)

    def _connection(self) -> Any:
        if self._pool is None:
            raise RuntimeError("instance numbers are asked for before they were opened")
        return self._pool.acquire(timeout=ASK_WITHIN_S)
