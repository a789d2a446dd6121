"""Signers on the database that each test has for itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from signing_service.keystore.key_ring import KeyRing
from tests.integration.signing.signer import Signer
from tests.support.databases import OwnDatabase

Start = Callable[..., Awaitable[Signer]]


@pytest.fixture
def database_name(database: OwnDatabase) -> str:
    return database.name


@pytest.fixture
def signing_dsn(database: OwnDatabase) -> str:
    return database.dsn("signing")


@pytest.fixture
async def owner(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Sees and changes what no service may."""
    connection = await asyncpg.connect(database.dsn("owner"))
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
