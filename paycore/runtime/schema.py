"""Whether the database has the schema that this process was made for: asked before it serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import structlog

import database
from database.schema_version import MADE_FOR, Made
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.database import DISCONNECTED
from paycore.runtime.metric_definitions import gauge
from paycore.runtime.server import Server
from paycore.runtime.settings import DatabaseSettings, split_address

ASK_WITHIN_S = 5.0
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 5.0
"""How long it takes at most until the schema is looked at again, in seconds."""

_PROBE_WITHIN_S = 1.0

NEEDED = gauge(
    "paycore_schema_needed",
    "The migration that this process cannot do without.",
    unit="number of a migration",
)
NEWEST = gauge(
    "paycore_schema_newest",
    "The last migration that this process's release has.",
    unit="number of a migration",
)
NEEDED.set(MADE_FOR.needed)
NEWEST.set(MADE_FOR.newest)

_QUERIES: Any = database.load("schema")

log = structlog.get_logger()


class SchemaUnfitError(Exception):
    """The schema is absent, older than this process needs, or made for newer processes only."""


async def check_schema(connection: asyncpg.Connection, made: Made = MADE_FOR) -> None:
    """Raise SchemaUnfitError, with the reason in words, unless the schema fits `made`."""
    try:
        row = await _QUERIES.read_version(connection)
    except asyncpg.UndefinedTableError:
        raise SchemaUnfitError("the database has no schema: migrate it") from None
    except (asyncpg.UndefinedColumnError, asyncpg.InsufficientPrivilegeError):
        # It tells its version since the migration that shows it to processes.
        raise SchemaUnfitError(f"the schema must be at {made.needed:04d}: migrate it") from None
    if row is None:
        raise SchemaUnfitError("the database has no schema: migrate it")
    fault = made.fault(int(row["version"]), int(row["oldest_processes"]))
    if fault is not None:
        raise SchemaUnfitError(fault)


async def wait_for_schema(dsn: str, application: str) -> None:
    """Return once the schema at `dsn` fits; looks again and again, and logs why it waits."""
    wait_s = FIRST_WAIT_S
    told: str | None = None
    while (fault := await _fault(dsn, application)) is not None:
        if fault != told:
            log.error("not serving", why=fault)
            told = fault
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    if told is not None:
        log.info("the schema fits now")


async def until_schema_fits(
    settings: DatabaseSettings, application: str, stop: asyncio.Event
) -> bool:
    """As `wait_for_schema`, before a process has its server; False when `stop` is set before.

    Meanwhile health says NOT_SERVING, and every other call gets DATABASE_UNAVAILABLE. Raises
    RuntimeError when the address cannot be bound.
    """
    dsn = settings.postgres_dsn.get_secret_value()
    if await _fault(dsn, application) is None:
        return True
    async with _not_serving(settings):
        fits = asyncio.create_task(wait_for_schema(dsn, application))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({fits, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if fits.done():
                fits.result()
            return not stop.is_set()
        finally:
            for task in (fits, stopping):
                task.cancel()
            await asyncio.gather(fits, stopping, return_exceptions=True)


async def _fault(dsn: str, application: str) -> str | None:
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=ASK_WITHIN_S,
            command_timeout=ASK_WITHIN_S,
            server_settings={"application_name": application},
        )
        try:
            await check_schema(connection)
        finally:
            connection.terminate()
    except SchemaUnfitError as unfit:
        return str(unfit)
    except (*DISCONNECTED, asyncpg.PostgresError) as error:
        return f"the database cannot be asked for its schema: {type(error).__name__}"
    return None


@contextlib.asynccontextmanager
async def _not_serving(settings: DatabaseSettings) -> AsyncIterator[None]:
    """A server that refuses, unless the address is answered already: by a process that shares it,
    whose calls it must not take."""
    if await _is_answered(settings.listen):
        yield
        return
    server = Server(settings)
    server.refuse(
        PaycoreError(
            Reason.DATABASE_UNAVAILABLE, "the process waits for the schema", retry_after_ms=1_000
        )
    )
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace_s=0)


async def _is_answered(listen: str) -> bool:
    host, port = split_address(listen)
    try:
        async with asyncio.timeout(_PROBE_WITHIN_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), port)
    except OSError:
        return False
    writer.close()
    return True
