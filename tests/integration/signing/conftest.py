"""PostgreSQL with the schema, and for each test a database of its own with signers on it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest

from deploy.local import Endpoints, LocalStack
from operations.migrate.bootstrap import create_database
from signing_service.keystore.key_ring import KeyRing
from tests.integration.signing.signer import Signer

Start = Callable[..., Awaitable[Signer]]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    stack = LocalStack(tmp_path_factory.mktemp("signing-stack"), parts={"postgres"}, schema=True)
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def endpoints(stack: LocalStack) -> Endpoints:
    return stack.endpoints


@pytest.fixture
async def database_name(endpoints: Endpoints) -> AsyncIterator[str]:
    """A migrated database for one test."""
    admin, name = endpoints.postgres_admin_dsn, f"t{secrets.token_hex(6)}"
    await asyncio.to_thread(create_database, admin, name, "paycore")
    yield name
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def signing_dsn(endpoints: Endpoints, database_name: str) -> str:
    return endpoints.dsn("paycore_signing", database_name)


@pytest.fixture
async def owner(endpoints: Endpoints, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """Sees and changes what no service may."""
    connection = await asyncpg.connect(endpoints.dsn("paycore_owner", database_name))
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def keys() -> KeyRing:
    return KeyRing.generate(now_us=1)


@pytest.fixture
async def start(signing_dsn: str, keys: KeyRing) -> AsyncIterator[Start]:
    """Starts signers that share the database and the keys, as several processes would."""
    started: list[Signer] = []

    async def begin(**options: Any) -> Signer:
        started.append(await Signer.start(signing_dsn, keys, **options))
        return started[-1]

    yield begin
    for signer in started:
        await signer.stop()


@pytest.fixture
async def signer(start: Start) -> Signer:
    return await start()
