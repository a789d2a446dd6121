"""A small ledger of its own for each test, in a database that only this test uses."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.local import Endpoints
from operations.migrate.bootstrap import migrate
from tests.integration.operations.small_ledger import SmallLedger
from tests.support.databases import OwnDatabase, own_database


@dataclass(frozen=True)
class Filled:
    """A database to copy, with a small ledger whose authorization `signer` signed."""

    name: str
    signer: Ed25519PrivateKey


@pytest.fixture(scope="package")
async def filled(endpoints: Endpoints) -> AsyncIterator[Filled]:
    """Filled once, for a copy takes a fraction of the time. Nobody has grants in it."""
    signer = Ed25519PrivateKey.generate()
    with own_database(endpoints, "template1") as database:
        await asyncio.to_thread(migrate, endpoints.postgres_admin_dsn, database.name)
        connection = await asyncpg.connect(database.admin_dsn)
        ledger = SmallLedger(connection, database.dsn("audit"), signer)
        await ledger.fill()
        await ledger.fill_children()
        await connection.close()
        yield Filled(database.name, signer)


@pytest.fixture
def ledger_database(endpoints: Endpoints, filled: Filled) -> Iterator[OwnDatabase]:
    """The database of `ledger`."""
    with own_database(endpoints, filled.name) as own:
        yield own


@pytest.fixture
async def ledger(ledger_database: OwnDatabase, filled: Filled) -> AsyncIterator[SmallLedger]:
    """A small ledger that is whole, open to a superuser who may break it."""
    connection = await asyncpg.connect(ledger_database.admin_dsn)
    yield SmallLedger(connection, ledger_database.dsn("audit"), filled.signer)
    await connection.close()
