"""PostgreSQL, Elasticsearch and the projector; a database of its own for each test."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import asyncpg
import psycopg
import pytest

from deploy.local import Endpoints, LocalStack
from operations.migrate.bootstrap import create_database
from tests.integration.operations.small_ledger import SmallLedger
from tests.support.databases import prepare_template


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    stack = LocalStack(
        tmp_path_factory.mktemp("operations-stack"),
        parts={"postgres", "elasticsearch", "projector"},
        schema=True,
    )
    try:
        yield stack.start()
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def template(endpoints: Endpoints) -> str:
    """Name of a migrated database with the local callers' grants, on this folder's own server."""
    return prepare_template(endpoints)


@pytest.fixture
async def database_name(endpoints: Endpoints) -> AsyncIterator[str]:
    name = f"t{secrets.token_hex(6)}"
    await asyncio.to_thread(create_database, endpoints.postgres_admin_dsn, name)
    await asyncio.to_thread(_migrate, endpoints.postgres_admin_dsn, name)
    yield name
    with psycopg.connect(endpoints.postgres_admin_dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _migrate(admin_dsn: str, name: str) -> None:
    from operations.migrate.bootstrap import migrate

    migrate(admin_dsn, name)


@pytest.fixture
async def ledger(endpoints: Endpoints, database_name: str) -> AsyncIterator[SmallLedger]:
    """A small ledger that is whole, open to a superuser who may break it."""
    connection = await asyncpg.connect(endpoints.postgres_admin_dsn, database=database_name)
    ledger = SmallLedger(connection, endpoints.dsn("paycore_audit", database_name))
    await ledger.fill()
    await ledger.fill_children()
    yield ledger
    await connection.close()
