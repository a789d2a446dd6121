"""The command service's core with a vault, and the signing service that has its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from command_service.personal.erasure import Erased, Erasure
from command_service.personal.owners import Owners
from command_service.personal.posting import PersonalPosting
from command_service.personal.vault import Vault
from paycore.domain.transfers import Command, Details, Outcome
from paycore.runtime.clock import Clock
from paycore.runtime.data_keys import DataKeys
from tests.support.command_core import AMPLE_S, CommandCore, command_core
from tests.support.data_key_server import DataKeyServer, data_key_server
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import violations


@dataclass
class Desk:
    """What one process of the command service does with personal data."""

    core: CommandCore
    keys: DataKeys
    posting: PersonalPosting
    vault: Vault
    erasure: Erasure

    async def submit(self, *commands: Command) -> list[Outcome]:
        """The outcomes of `commands`, sent together."""
        return await self.posting.submit(commands, self.core.clock.monotonic_s() + AMPLE_S)

    async def one(self, command: Command) -> Outcome:
        """The outcome of `command`, sent alone."""
        (outcome,) = await self.submit(command)
        return outcome

    async def erase(self, subject: str) -> Erased:
        """Erase `subject` as an operator asks."""
        deadline_s = self.core.clock.monotonic_s() + AMPLE_S
        return await self.erasure.erase("operator", subject, "asked for", Details(), deadline_s)


@asynccontextmanager
async def open_desk(
    database: OwnDatabase, signer: DataKeyServer, clock: Clock | None = None
) -> AsyncIterator[Desk]:
    """Another process; `clock` is that of its kept keys."""
    async with (
        command_core(
            database.dsn("command"),
            signing_target=signer.target,
            tls=database.endpoints.tls["command"],
        ) as core,
        signer.channel() as channel,
    ):
        keys = DataKeys(channel, clock or core.clock)
        vault = Vault(keys, Owners(core.accounts), core.store, core.clock)
        erasure = Erasure(core.pool, core.transactions, keys, core.ids, core.clock, core.actors)
        yield Desk(core, keys, PersonalPosting(core.engine, vault), vault, erasure)


@pytest.fixture
async def admin(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to the test's database."""
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def signer(database: OwnDatabase) -> AsyncIterator[DataKeyServer]:
    async with data_key_server(database) as server:
        yield server


@pytest.fixture
async def desk(
    database: OwnDatabase, signer: DataKeyServer, admin: asyncpg.Connection
) -> AsyncIterator[Desk]:
    """One process; the ledger must be whole when the test is over."""
    async with open_desk(database, signer) as desk:
        yield desk
    assert await violations(admin) == []
