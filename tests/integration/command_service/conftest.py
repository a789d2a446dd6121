"""The posting core on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.command_core import CommandCore, command_core
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import violations
from tests.support.postgres_proxy import PostgresProxy


@pytest.fixture
async def admin(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to the test's database: a hand on its locks and its tables."""
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def core(database: OwnDatabase, admin: asyncpg.Connection) -> AsyncIterator[CommandCore]:
    """One process's core; the ledger must be whole when the test is over."""
    async with command_core(database.dsn("command")) as core:
        yield core
    assert await violations(admin) == []


@pytest.fixture
async def proxy(database: OwnDatabase) -> AsyncIterator[PostgresProxy]:
    """Stands between a core and PostgreSQL; `core` goes round it."""
    async with PostgresProxy(database.dsn("command")) as proxy:
        yield proxy
