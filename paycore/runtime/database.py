"""Connections to PostgreSQL."""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

from paycore.runtime.pools import MeasuredPool, PoolName

log = structlog.get_logger()

DISCONNECTED: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    # "cannot switch to state ...": a connection that was lost just before it was asked.
    asyncpg.InternalClientError,
)
"""What asyncpg raises when the server, or the way to it, is gone or not ready."""

_AWAY_CLASSES = ("53", "57", "58")
"""SQLSTATE classes of a server that cannot serve now: out of resources, being operated, broken."""

_AWAY_STATES = frozenset(
    {
        "25006",  # read_only_sql_transaction: this server is no longer the primary
        "25P03",  # idle_in_transaction_session_timeout: this process was held up
        # A schema that this process was not made for, in the course of an upgrade: another process
        # may serve the caller.
        "42501",  # insufficient_privilege
        "42703",  # undefined_column
        "42883",  # undefined_function
        "42P01",  # undefined_table
    }
)


def is_away(error: BaseException) -> bool:
    """Whether `error` says that the server cannot serve now, and not that the work was wrong.

    A server that is reached may still be out of disk, memory or connections, be shut down, or be no
    primary any more. A query that was cancelled (57014) is none of these.
    """
    if isinstance(error, DISCONNECTED):
        return True
    if not isinstance(error, asyncpg.PostgresError) or isinstance(
        error, asyncpg.QueryCanceledError
    ):
        return False
    state = error.sqlstate or ""
    return state in _AWAY_STATES or state[:2] in _AWAY_CLASSES


async def _keep_session(_: asyncpg.Connection) -> None:
    """No reset on release: it costs a round trip, and no session state is used through pools."""


async def open_pool(
    dsn: str,
    *,
    size: int,
    application: str,
    name: PoolName,
    ready: int = 1,
    connect_timeout_s: float = 5.0,
    command_timeout_s: float = 15.0,
    lock_timeout_ms: int | None = None,
) -> asyncpg.Pool:
    """A pool of at most `size` connections, `ready` of them opened now, the others when needed.

    `application` is how the database shows its sessions, `name` how metrics do.
    `lock_timeout_ms` is how long its sessions wait for a lock, where their role is to wait longer.
    Connections of the pool must not be left with session state (locks, LISTEN, SET). Raises one of
    DISCONNECTED when the server cannot be reached.
    """
    return await MeasuredPool(
        dsn,
        name=name,
        min_size=ready,
        max_size=size,
        max_queries=50_000,
        reset=_keep_session,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        timeout=connect_timeout_s,
        command_timeout=command_timeout_s,
        max_inactive_connection_lifetime=300.0,
        server_settings={
            "application_name": application,
            **({} if lock_timeout_ms is None else {"lock_timeout": str(lock_timeout_ms)}),
        },
    )


class LazyPool:
    """A pool that is opened when it is first needed: whether the server is there or not."""

    def __init__(
        self, dsn: str, *, size: int, application: str, name: PoolName, command_timeout_s: float
    ) -> None:
        """As `open_pool`."""
        self._dsn = dsn
        self._size = size
        self._application = application
        self._name = name
        self._command_timeout_s = command_timeout_s
        self._opening = asyncio.Lock()
        self._pool: asyncpg.Pool | None = None

    async def get(self) -> asyncpg.Pool:
        """The pool. Raises one of DISCONNECTED when it cannot be opened."""
        async with self._opening:
            if self._pool is None:
                self._pool = await open_pool(
                    self._dsn,
                    size=self._size,
                    application=self._application,
                    name=self._name,
                    command_timeout_s=self._command_timeout_s,
                )
            return self._pool

    async def close(self) -> None:
        """Close its connections; those that take longer than a command may are cut."""
        if self._pool is not None:
            try:
                async with asyncio.timeout(self._command_timeout_s):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()


async def close_pool(pool: asyncpg.Pool, within_s: float = 2.0) -> None:
    """Close `pool`; connections that are in use after `within_s` seconds are cut off."""
    try:
        async with asyncio.timeout(within_s):
            await pool.close()
    except TimeoutError:
        log.error("connections were still in use", pool=str(pool))
        pool.terminate()
