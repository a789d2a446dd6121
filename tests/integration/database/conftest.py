"""A small ledger, and connections to it in each role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import asyncpg
import pytest

from paycore.domain.accounts import AccountId
from tests.support.command_core import command_core, payment
from tests.support.databases import OwnDatabase

Connect = Callable[[str], Coroutine[Any, Any, asyncpg.Connection]]


@pytest.fixture
async def accounts(database: OwnDatabase) -> list[AccountId]:
    """An EXTERNAL account and two customers with 1,000 each; one transfer and one decline."""
    async with command_core(database.dsn("command")) as core:
        ids = await core.open(2)
        await core.submit(payment(ids[1], ids[2], 10), payment(ids[1], ids[2], 99_999))
    return ids


@pytest.fixture
async def connect(database: OwnDatabase) -> AsyncIterator[Connect]:
    """Connects as a role: owner, command, signing, projector, query, audit, or admin."""
    opened: list[asyncpg.Connection] = []

    async def connect(role: str) -> asyncpg.Connection:
        dsn = database.admin_dsn if role == "admin" else database.dsn(role)
        opened.append(await asyncpg.connect(dsn))
        return opened[-1]

    yield connect
    for connection in opened:
        await connection.close()
