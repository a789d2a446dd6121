"""A small ledger, and connections to it in each role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from deploy.local import Endpoints
from paycore.domain.accounts import AccountId
from tests.support.command_core import command_core, payment
from tests.support.databases import OwnDatabase, own_database

Connect = Callable[[str], Coroutine[Any, Any, asyncpg.Connection]]


async def post(database: OwnDatabase) -> list[AccountId]:
    """An EXTERNAL account and two customers with 1,000 each; one transfer and one decline."""
    async with command_core(database.dsn("command")) as core:
        ids = await core.open(2)
        await core.submit(payment(ids[1], ids[2], 10), payment(ids[1], ids[2], 99_999))
    return ids


@pytest.fixture
async def accounts(database: OwnDatabase) -> list[AccountId]:
    """What `post` posts into the test's own database."""
    return await post(database)


@dataclass(frozen=True)
class Posted:
    """A database in which the same stands as `accounts` brings about."""

    database: OwnDatabase
    accounts: list[AccountId]


@pytest.fixture(scope="package")
async def posted(endpoints: Endpoints, template: str) -> AsyncIterator[Posted]:
    """One for all tests of what is refused, which change nothing in it."""
    with own_database(endpoints, template) as database:
        yield Posted(database, await post(database))


@pytest.fixture
async def on_posted(posted: Posted) -> AsyncIterator[Connect]:
    """Connects to `posted` as `connect` does; what is done there is undone after the test."""
    async with AsyncExitStack() as opened:

        async def connect(role: str) -> asyncpg.Connection:
            connection = await _connected(posted.database, role)
            opened.push_async_callback(connection.close)
            transaction = connection.transaction()
            await transaction.start()
            opened.push_async_callback(transaction.rollback)
            # What waits for the end of a transaction must speak at once: none is committed.
            await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            return connection

        yield connect


async def _connected(database: OwnDatabase, role: str) -> asyncpg.Connection:
    dsn = database.admin_dsn if role == "admin" else database.dsn(role)
    return await asyncpg.connect(dsn)


@pytest.fixture
async def connect(database: OwnDatabase) -> AsyncIterator[Connect]:
    """Connects as a role: owner, command, signing, projector, query, audit, or admin."""
    opened: list[asyncpg.Connection] = []

    async def connect(role: str) -> asyncpg.Connection:
        opened.append(await _connected(database, role))
        return opened[-1]

    yield connect
    for connection in opened:
        await connection.close()
