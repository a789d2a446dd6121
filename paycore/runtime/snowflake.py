"""Unique, time-ordered 63-bit ids (Snowflakes) under a leased instance number."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from math import nan
from typing import Any

import asyncpg
import structlog
from snowflake import SnowflakeGenerator

import database
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import Clock
from paycore.runtime.database import DISCONNECTED, close_pool, open_pool
from paycore.runtime.id_lease_metrics import FAILED, INSTANCE, REMAINING, Unrenewed
from paycore.runtime.pools import PoolName
from paycore.runtime.untold import in_background

EPOCH_MS = 1_735_689_600_000
"""2025-01-01T00:00:00Z: ids last until 2094."""

LEASE_S = 30.0
"""How long an instance number is held without renewal, by the database's clock, in seconds."""

SAFETY_S = 10.0
"""How much earlier than the lease ends its holder stops issuing ids, in seconds."""

RENEW_EVERY_S = 5.0

ASK_WITHIN_S = 3.0
"""How long the database may take to give a connection, and how long to answer on it, in seconds: a
renewal that failed by both is tried again before ids would have to stop."""

LEASE_TRIES = 10
"""Tries to lease a number: each can lose its pick to another process that starts now."""

MAX_WAIT_S = 2.0
"""How long one call waits for the generator (sequence used up, clock stepped back), in seconds."""

log = structlog.get_logger()


def created_at_ms(snowflake: int) -> int:
    """Milliseconds since 1970 at which `snowflake` was made."""
    return (snowflake >> 22) + EPOCH_MS


def first_id_at(time_us: int) -> int:
    """The lowest id that can be made from that time on, within the range of ids: 0 to 2^63 - 1."""
    return min(max(0, time_us // 1_000 - EPOCH_MS) << 22, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class _Term:
    """A stretch of time in which one instance number is surely ours."""

    generator: SnowflakeGenerator
    instance: int
    until_s: float


class IdSource:
    """Issues ids while its lease of an instance number is certain, and refuses otherwise.

    It has a connection of its own: however busy the others are, the lease is renewed.
    """

    def __init__(self, dsn: str, clock: Clock, application: str) -> None:
        """`application` is the name under which the database's sessions show it."""
        self._dsn = dsn
        self._clock = clock
        self._application = application
        self._pool: asyncpg.Pool | None = None
        self._holder = uuid.uuid4()
        self._queries: Any = database.load("id_leases")
        self._term: _Term | None = None
        self._renewal: asyncio.Task[None] | None = None
        INSTANCE.set_function(self._instance_shown)
        REMAINING.set_function(self._remaining_s)

    async def start(self) -> None:
        """Lease an instance number and keep renewing it.

        Raises PaycoreError OVERLOADED when all 1,024 are leased, or what asyncpg raises.
        """
        self._pool = await open_pool(
            self._dsn,
            size=1,
            application=self._application,
            name=PoolName.IDS,
            command_timeout_s=ASK_WITHIN_S,
        )
        try:
            await self._lease()
        except BaseException:
            await self._close()
            raise
        self._renewal = in_background(self._keep_renewing(), "id-lease")

    async def stop(self) -> None:
        """Stop issuing and give the instance number back."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        term, self._term = self._term, None
        if term is not None:
            try:
                async with self._connection() as connection:
                    await self._queries.release(
                        connection,
                        instance=term.instance,
                        holder=self._holder,
                        rest_s=SAFETY_S,
                    )
            except DISCONNECTED as error:
                log.warning("id lease left to expire", error=type(error).__name__)
        await self._close()

    @property
    def instance(self) -> int | None:
        """The leased instance number, or None when there is none."""
        return None if self._term is None else self._term.instance

    def _instance_shown(self) -> float:
        instance = self.instance
        return nan if instance is None else instance

    def _remaining_s(self) -> float:
        term = self._term
        return 0.0 if term is None else max(0.0, term.until_s - self._clock.monotonic_s())

    async def take(self, count: int) -> list[int]:
        """`count` new ids, rising.

        Waits when a millisecond's sequence is used up or the clock stepped back. Raises
        PaycoreError DATABASE_UNAVAILABLE when the lease is lost or the wait passes MAX_WAIT_S.
        """
        ids: list[int] = []
        give_up_s = self._clock.monotonic_s() + MAX_WAIT_S
        while True:
            term = self._term
            if term is None or self._clock.monotonic_s() >= term.until_s:
                raise PaycoreError(
                    Reason.DATABASE_UNAVAILABLE, "the lease of an id range could not be renewed"
                )
            generator = term.generator
            while len(ids) < count:
                # None: this millisecond's 4,096 are used up, or the clock stepped back.
                issued = next(generator)
                if issued is None:
                    break
                ids.append(issued)
            else:
                return ids
            if self._clock.monotonic_s() >= give_up_s:
                raise PaycoreError(
                    Reason.DATABASE_UNAVAILABLE, "the clock stepped back: no ids can be issued"
                )
            await asyncio.sleep(0.0005)

    def _connection(self) -> Any:
        """The connection, as a context. Raises one of DISCONNECTED, TimeoutError among them."""
        if self._pool is None:
            raise RuntimeError("ids are asked for before the source was started")
        return self._pool.acquire(timeout=ASK_WITHIN_S)

    async def _close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await close_pool(pool)

    async def _lease(self) -> None:
        for _ in range(LEASE_TRIES):
            asked_s = self._clock.monotonic_s()
            async with self._connection() as connection:
                instance = await self._queries.lease(
                    connection, holder=self._holder, lease_s=LEASE_S
                )
            if instance is not None:
                break
        else:
            raise PaycoreError(Reason.OVERLOADED, "all 1,024 id instance numbers are leased")
        # A former holder of the number stopped SAFETY_S before its lease ended, so as long as
        # clocks differ by less, no id of it can come again.
        self._term = _Term(
            SnowflakeGenerator(instance, epoch=EPOCH_MS), instance, asked_s + LEASE_S - SAFETY_S
        )
        log.info("id instance leased", instance=instance)

    async def _renew(self, term: _Term) -> None:
        asked_s = self._clock.monotonic_s()
        async with self._connection() as connection:
            renewed = await self._queries.renew(
                connection, instance=term.instance, holder=self._holder, lease_s=LEASE_S
            )
        if renewed is None:
            self._term = None
            FAILED.labels(Unrenewed.LOST).inc()
            log.error("id lease lost to another process", instance=term.instance)
            await self._lease()
        else:
            self._term = _Term(term.generator, term.instance, asked_s + LEASE_S - SAFETY_S)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                if self._term is None:
                    await self._lease()
                else:
                    await self._renew(self._term)
            except (*DISCONNECTED, asyncpg.PostgresError, PaycoreError) as error:
                away = isinstance(error, DISCONNECTED)
                FAILED.labels(Unrenewed.UNREACHABLE if away else Unrenewed.REFUSED).inc()
                log.warning("id lease not renewed", error=type(error).__name__)
            except Exception as error:
                FAILED.labels(Unrenewed.FAULT).inc()
                # Ids stop when the lease ends, and come again with the first renewal that works.
                log.exception("id lease not renewed", error=type(error).__name__)
