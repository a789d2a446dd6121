"""A key is called unknown only once nothing that runs can still store it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from command_service.posting.store import UnreachableError
from paycore.domain.transfers import Transfer
from tests.integration.command_service.test_engine import locked, until_waiting
from tests.support.command_core import CommandCore, payment, posted
from tests.support.databases import OwnDatabase


async def test_a_key_that_is_being_written_is_not_called_unknown(
    core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
) -> None:
    _, a, b = await core.open(2)
    asked = payment(a, b, 10)
    async with locked(admin, a):
        writing = asyncio.create_task(core.one(asked))
        await until_waiting(database)
        with pytest.raises(UnreachableError):
            await core.store.find_settled(asked.client, asked.key, core.clock.monotonic_s() + 0.2)
        patient = asyncio.create_task(
            core.store.find_settled(asked.client, asked.key, core.clock.monotonic_s() + 10)
        )
        await asyncio.sleep(0.1)
        assert not patient.done()
    (outcome,) = posted([await writing])
    found = await patient
    assert found is not None
    assert isinstance(found.row, Transfer)
    assert (found.row, found.position) == (outcome.transfer, outcome.position)


async def test_any_writer_that_runs_is_waited_for(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    writer = admin.transaction()
    await writer.start()
    await admin.execute("SELECT pg_current_xact_id()")
    with pytest.raises(UnreachableError):
        await core.store.find_settled("loadtest", "nobody", core.clock.monotonic_s() + 0.2)
    await writer.rollback()
    assert (
        await core.store.find_settled("loadtest", "nobody", core.clock.monotonic_s() + 10) is None
    )


async def test_a_known_key_is_answered_whatever_else_runs(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    _, a, b = await core.open(2)
    asked = payment(a, b, 10)
    posted([await core.one(asked)])
    async with admin.transaction():
        await admin.execute("SELECT pg_current_xact_id()")
        found = await core.store.find_settled(
            asked.client, asked.key, core.clock.monotonic_s() + 0.2
        )
    assert found is not None


async def test_a_key_of_another_client_is_unknown(core: CommandCore) -> None:
    _, a, b = await core.open(2)
    asked = payment(a, b, 10)
    posted([await core.one(asked)])
    assert await core.store.find("app", asked.key) is None
