"""A client with little to post beside one that floods."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from command_service.posting.pacing import EngineLimits
from paycore.domain.accounts import AccountId
from tests.support.command_core import CommandCore, command_core, opening, payment, posted
from tests.support.databases import OwnDatabase
from tests.support.locks import locked, until_waiting

LIGHT = "app"


async def _accounts_of_light(core: CommandCore) -> tuple[AccountId, AccountId]:
    outcomes = await core.open_accounts([opening(client=LIGHT) for _ in range(2)])
    one, two = (outcome.account.id for outcome in outcomes)  # type: ignore[union-attr]
    return one, two


async def test_it_does_not_wait_for_the_full_batches_of_the_flood(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    limits = EngineLimits(in_flight=1, batch=100)
    async with command_core(database.dsn("command"), limits=limits) as core:
        _, a, b, c, _ = await core.open(4, balance=10_000)
        one, _ = await _accounts_of_light(core)
        async with locked(admin, a):
            # The only place in flight is taken, and there is more than a batch behind it.
            many = [payment(a, b, 1) for _ in range(300)]
            flood = asyncio.create_task(core.submit(*many))
            await until_waiting(database)
            began = time.monotonic()
            (outcome,) = await core.submit(payment(one, c, 1, client=LIGHT), within_s=4.5)
            # Before the flood gives up waiting for the row.
            assert time.monotonic() - began < 4.0
            # Decided, whatever the decision: the account is empty.
            assert outcome.decline.reason == "INSUFFICIENT_FUNDS"  # type: ignore[union-attr]
            # Whoever needs what a batch in flight has still waits for it.
            same = asyncio.create_task(core.submit(payment(one, b, 1, client=LIGHT)))
            await asyncio.sleep(0.2)
            assert not same.done()
        posted(await flood)
        await same


async def test_without_a_flood_a_lone_client_gets_no_place_of_its_own(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    limits = EngineLimits(in_flight=1, patience_s=30.0)
    async with command_core(database.dsn("command"), limits=limits) as core:
        _, a, b, c, d = await core.open(4, balance=10_000)
        async with locked(admin, a):
            first = asyncio.create_task(core.one(payment(a, b, 1)))
            await until_waiting(database)
            second = asyncio.create_task(core.one(payment(c, d, 1)))
            await asyncio.sleep(0.2)
            assert not second.done()
        posted([await first, await second])
