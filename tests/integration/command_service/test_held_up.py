"""Accounts whose rows somebody keeps: only commands that need them feel it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from paycore.domain.errors import Reason
from paycore.domain.transfers import Posted, Refused
from tests.support.command_core import CommandCore, command_core, payment, posted
from tests.support.databases import OwnDatabase, with_setting
from tests.support.ledger_checks import counts, violations
from tests.support.locks import locked

LOCK_TIMEOUT_S = 1.0


@pytest.fixture
async def impatient(database: OwnDatabase, admin: asyncpg.Connection) -> AsyncIterator[CommandCore]:
    """A core whose batches wait LOCK_TIMEOUT_S for rows."""
    setting = f"lock_timeout={int(LOCK_TIMEOUT_S * 1_000)}"
    async with command_core(with_setting(database.dsn("command"), setting)) as core:
        yield core
    assert await violations(admin) == []


async def test_of_a_batch_only_those_wait_who_need_what_is_held(
    impatient: CommandCore, admin: asyncpg.Connection
) -> None:
    core = impatient
    _, held, *others = await core.open(21)
    async with locked(admin, held):
        began = time.monotonic()
        together = [
            asyncio.create_task(core.one(payment(one, two, 1)))
            for one, two in [*zip(others[::2], others[1::2], strict=True), (held, others[0])]
        ]
        free, stuck = together[:-1], together[-1]
        posted(await asyncio.gather(*free))
        assert time.monotonic() - began < 3 * LOCK_TIMEOUT_S
        assert not stuck.done()
    # Let go of while it waits: it is posted as if nothing had been.
    assert isinstance(await stuck, Posted)


async def test_who_needs_it_is_told_at_last_and_nothing_is_written(
    impatient: CommandCore, admin: asyncpg.Connection
) -> None:
    core = impatient
    _, held, other, third = await core.open(3)
    before = await counts(admin)
    async with locked(admin, held):
        outcome = await core.one(payment(held, other, 1))
        assert isinstance(outcome, Refused)
        assert outcome.error.reason is Reason.CONTENTION
        assert outcome.error.retry_after_ms
        assert await counts(admin) == before
        # Known by now: what comes next in one batch with others does not hold them up at all.
        began = time.monotonic()
        stuck = asyncio.create_task(core.one(payment(held, other, 1)))
        posted([await core.one(payment(other, third, 1))])
        assert time.monotonic() - began < LOCK_TIMEOUT_S
    posted([await stuck])


async def test_while_accounts_are_held_both_places_in_flight_are_free(
    impatient: CommandCore, admin: asyncpg.Connection
) -> None:
    core = impatient
    _, one, two, three, four, *others = await core.open(14)
    async with locked(admin, one, two, three, four):
        stuck = []
        for held in (one, two, three, four):
            stuck.append(asyncio.create_task(core.one(payment(held, others[0], 1))))
            await asyncio.sleep(0.05)
        await asyncio.sleep(2.5 * LOCK_TIMEOUT_S)
        began = time.monotonic()
        posted([await core.one(payment(others[1], others[2], 1))])
        assert time.monotonic() - began < LOCK_TIMEOUT_S
    for outcome in await asyncio.gather(*stuck):
        assert isinstance(outcome, Posted) or (
            isinstance(outcome, Refused) and outcome.error.reason is Reason.CONTENTION
        )
    posted([await core.one(payment(one, two, 1))])


async def test_a_deadline_passes_while_it_waits_and_nothing_is_posted(
    impatient: CommandCore, admin: asyncpg.Connection
) -> None:
    core = impatient
    _, held, other = await core.open(2)
    async with locked(admin, held):
        late = payment(held, other, 1)
        stuck = asyncio.create_task(core.one(late, within_s=1.3 * LOCK_TIMEOUT_S))
        await asyncio.sleep(2 * LOCK_TIMEOUT_S)
    outcome = await stuck
    assert isinstance(outcome, Refused)
    assert outcome.error.reason is Reason.DEADLINE_EXCEEDED
    posted([await core.one(payment(held, other, 1))])


async def test_the_engine_stops_only_when_those_who_wait_are_answered(
    impatient: CommandCore, admin: asyncpg.Connection
) -> None:
    core = impatient
    _, held, other = await core.open(2)
    async with locked(admin, held):
        stuck = asyncio.create_task(core.one(payment(held, other, 1)))
        await asyncio.sleep(2 * LOCK_TIMEOUT_S)
        stopping = asyncio.create_task(core.engine.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
    await stopping
    posted([await stuck])


async def test_what_is_held_is_told_from_what_is_free(
    core: CommandCore, admin: asyncpg.Connection
) -> None:
    _, held, free = await core.open(2)
    async with locked(admin, held):
        assert await core.store.find_held([held, free]) == {held}
    assert await core.store.find_held([held, free]) == frozenset()
