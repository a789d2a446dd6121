"""A key is called unknown only once nothing that runs can still store it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from command_service.posting import postgres
from command_service.posting.store import UnreachableError
from paycore.domain.transfers import Transfer
from tests.support.command_core import CommandCore, payment, posted
from tests.support.databases import OwnDatabase
from tests.support.locks import locked, until_waiting


async def test_a_key_that_is_being_written_is_not_called_unknown(
    core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
) -> None:
    _, a, b = await core.open(2)
    asked = payment(a, b, 10)
    async with locked(admin, a):
        writing = asyncio.create_task(core.one(asked))
        await until_waiting(database)
        with pytest.raises(UnreachableError, match="still running"):
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


async def test_look_ups_that_wait_keep_nobody_from_the_database(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    external, a, b = await core.open(2)
    async with admin.transaction():
        await admin.execute("SELECT pg_current_xact_id()")
        look_ups = [
            asyncio.create_task(
                core.store.find_settled("loadtest", f"nobody-{n}", core.clock.monotonic_s() + 600)
            )
            for n in range(20)
        ]
        await asyncio.sleep(0.1)
        # Before the look-ups give up by themselves.
        async with asyncio.timeout(8):
            posted([await core.one(payment(a, b, 10))])
            assert set(await core.accounts.read_many([external, a])) == {external, a}
        assert not [one for one in look_ups if one.done()]
    assert await asyncio.gather(*look_ups) == [None] * 20


async def test_a_look_up_gives_up_in_bounded_time_whatever_its_deadline(
    core: CommandCore, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SETTLES_WITHIN_S", 0.2)
    async with admin.transaction():
        await admin.execute("SELECT pg_current_xact_id()")
        async with asyncio.timeout(60):
            with pytest.raises(UnreachableError):
                await core.store.find_settled("loadtest", "nobody", core.clock.monotonic_s() + 600)
