"""A process serves once the database's schema fits it; until then it says so, waits and looks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from database.schema_version import MADE_FOR, Made
from deploy.local import Endpoints
from deploy.local.ports import PortClaims
from deploy.local.services import CHECKOUT, MODULES, service_environment
from deploy.local.state import StateFolder
from operations.migrate.bootstrap import create_database
from paycore.domain.errors import Reason
from paycore.runtime.channel import open_channel
from paycore.runtime.errors import from_rpc_error
from paycore.runtime.schema import SchemaUnfitError, check_schema
from paycore.v1 import account_service_pb2, account_service_pb2_grpc
from tests.support.databases import OwnDatabase

SERVING: int = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: int = health_pb2.HealthCheckResponse.NOT_SERVING
ROLES = ("command", "signing", "projector", "query")

OLDER = f"UPDATE public.schema_version SET version_num = '{MADE_FOR.needed - 1:04d}'"
WANTS_NEWER = f"UPDATE public.schema_version SET oldest_processes = '{MADE_FOR.newest + 1:04d}'"
FITS = (
    f"UPDATE public.schema_version SET version_num = '{MADE_FOR.newest:04d}',"
    f" oldest_processes = '{MADE_FOR.newest:04d}'"
)


@pytest.fixture
async def admin(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


@pytest.mark.parametrize("role", [*ROLES, "audit"])
async def test_every_role_may_look_and_none_may_change(database: OwnDatabase, role: str) -> None:
    connection = await asyncpg.connect(database.dsn(role))
    try:
        await check_schema(connection)
        await connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(FITS)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (OLDER, "must be at"),
        (WANTS_NEWER, "run a newer release"),
        ("DELETE FROM public.schema_version", "no schema"),
        ("DROP TABLE public.schema_version", "no schema"),
        # As it was before processes could see it.
        ("ALTER TABLE public.schema_version DROP COLUMN oldest_processes", "must be at"),
        ("REVOKE SELECT ON public.schema_version FROM paycore_command", "must be at"),
    ],
)
async def test_a_schema_that_does_not_fit_is_told_by_its_reason(
    database: OwnDatabase, admin: asyncpg.Connection, statement: str, why: str
) -> None:
    await admin.execute(statement)
    connection = await asyncpg.connect(database.dsn("command"))
    try:
        with pytest.raises(SchemaUnfitError, match=why):
            await check_schema(connection)
    finally:
        await connection.close()


async def test_later_migrations_than_its_own_do_not_stop_a_process(
    admin: asyncpg.Connection,
) -> None:
    await admin.execute("UPDATE public.schema_version SET version_num = '9000'")
    await check_schema(admin)
    oldest = int(await admin.fetchval("SELECT oldest_processes FROM public.schema_version"))
    await check_schema(admin, Made(newest=oldest, needed=oldest))


@pytest.mark.parametrize("name", ROLES)
async def test_a_process_waits_for_its_schema_and_then_serves(
    endpoints: Endpoints,
    database: OwnDatabase,
    admin: asyncpg.Connection,
    tmp_path: Path,
    name: str,
) -> None:
    await admin.execute(OLDER if name in ("command", "projector") else WANTS_NEWER)
    log = tmp_path / "log"
    prefix = f"t{secrets.token_hex(4)}"
    async with contextlib.AsyncExitStack() as stack:
        if name == "query":
            # Whose index it reads.
            await stack.enter_async_context(
                started(
                    "projector",
                    endpoints,
                    tmp_path / "projector.log",
                    POSTGRES_DSN=database.dsn("projector"),
                    INDEX_PREFIX=prefix,
                )
            )
        target, process = await stack.enter_async_context(
            started(name, endpoints, log, POSTGRES_DSN=database.dsn(name), INDEX_PREFIX=prefix)
        )
        channel = await stack.enter_async_context(
            open_channel(target, endpoints.tls["operator"], service=name)
        )
        assert await health(channel) == NOT_SERVING
        async with asyncio.timeout(120):
            while b"the schema" not in log.read_bytes():
                await asyncio.sleep(0.05)
        if name == "command":
            await refused(endpoints, target)
        assert await health(channel) == NOT_SERVING
        await admin.execute(FITS)
        async with asyncio.timeout(120):
            while await health(channel) != SERVING:
                await asyncio.sleep(0.1)
        assert process.returncode is None


async def refused(endpoints: Endpoints, target: str) -> None:
    """A caller hears that it may try again."""
    async with open_channel(target, endpoints.tls["app"], service="command") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await account_service_pb2_grpc.AccountServiceStub(channel).GetAccount(
                account_service_pb2.GetAccountRequest(account_id=1), timeout=5
            )
    error = from_rpc_error(refusal.value)
    assert error is not None
    assert error.reason is Reason.DATABASE_UNAVAILABLE
    assert error.retry_after_ms


async def test_where_there_is_no_schema_a_process_waits_and_stops_when_told(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    empty = f"t{secrets.token_hex(6)}"
    await asyncio.to_thread(create_database, endpoints.postgres_admin_dsn, empty)
    admin = await asyncpg.connect(endpoints.postgres_admin_dsn)
    log = tmp_path / "log"
    dsn = endpoints.dsn("paycore_command", empty)
    try:
        async with started("command", endpoints, log, POSTGRES_DSN=dsn) as (target, process):
            async with open_channel(
                target, endpoints.tls["operator"], service="command"
            ) as channel:
                assert await health(channel) == NOT_SERVING
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 60) == 0
        assert b"the database has no schema: migrate it" in log.read_bytes()
    finally:
        await admin.execute(f"DROP DATABASE {empty} WITH (FORCE)")
        await admin.close()


async def test_a_process_that_waits_takes_no_calls_from_one_that_shares_its_port(
    endpoints: Endpoints, database: OwnDatabase, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    await admin.execute(WANTS_NEWER)
    taken = 0

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        writer.close()

    other = await asyncio.start_server(take, "127.0.0.1", 0, reuse_port=True)
    port = other.sockets[0].getsockname()[1]
    log = tmp_path / "log"
    async with (
        other,
        started(
            "command", endpoints, log, POSTGRES_DSN=database.dsn("command"),
            LISTEN=f"127.0.0.1:{port}",
        ) as (_, process),
    ):  # fmt: skip
        async with asyncio.timeout(120):
            while b"not serving" not in log.read_bytes():
                await asyncio.sleep(0.05)
        probed = taken
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            writer.close()
        assert taken == probed + 20
        assert process.returncode is None


async def health(channel: grpc.aio.Channel) -> int:
    try:
        reply = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True
        )
    except grpc.aio.AioRpcError as error:
        # Between the server that waited and the one that serves nobody listens.
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            raise
        return NOT_SERVING
    status: int = reply.status
    return status


@contextlib.asynccontextmanager
async def started(
    name: str, endpoints: Endpoints, log: Path, **settings: str
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The process of service `name`, ready or not, and its host:port."""
    claims = PortClaims()
    (port,), (metrics,) = claims.claim(), claims.claim()
    target = f"127.0.0.1:{port}"
    changes = {"LISTEN": target, **settings}
    if name == "signing":
        changes["KEYSTORE_FILE"] = str(log.with_name("keystore"))
    environment = service_environment(
        name, StateFolder(endpoints.state), endpoints, 1, f"127.0.0.1:{metrics}", changes
    )
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULES[name],
            cwd=CHECKOUT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        yield target, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        claims.release()
