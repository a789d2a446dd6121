"""Holds whose time is up are freed once, by however many processes."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import asyncpg
import pytest

from command_service.posting.expiry import ExpiryJob
from paycore.domain.accounts import AccountId
from paycore.domain.errors import Reason
from paycore.domain.transfers import (
    Declined,
    Posted,
    Refused,
    Transfer,
    TransferKind,
    TransferState,
)
from tests.support.clocks import ShiftedClock
from tests.support.command_core import CommandCore, command_core, follow, payment
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import violations

HOUR_US = 3_600_000_000

BEHIND_S = -7_200.0
"""Where a process's clock stands at first: what is an hour ahead of it then, is past for the
tables, and for the process too once its clock is right."""


def clock_behind() -> ShiftedClock:
    """A process's clock that stands BEHIND_S, until a test puts it right."""
    clock = ShiftedClock(wall_only=True)
    clock.shift_s = BEHIND_S
    return clock


async def hold(
    core: CommandCore, payer: AccountId, payee: AccountId, amount: int, *, within_us: int
) -> Transfer:
    asked = payment(
        payer,
        payee,
        amount,
        kind=TransferKind.HOLD,
        expires_at_us=core.clock.now_us() + within_us,
    )
    outcome = await core.one(asked)
    assert isinstance(outcome, Posted), outcome
    return outcome.transfer


async def test_only_what_is_due_by_both_clocks_is_freed(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    clock = clock_behind()
    async with command_core(database.dsn("command"), clock=clock) as core:
        _, payer, payee = await core.open(2)
        due = await hold(core, payer, payee, 300, within_us=HOUR_US)
        later = await hold(core, payer, payee, 200, within_us=3 * HOUR_US)
        job = ExpiryJob(core.engine, core.store, clock)
        assert await core.store.find_expired_holds(clock.now_us(), 10) == []
        assert await job.free() == 0

        clock.shift_s = 0.0
        assert await core.store.find_expired_holds(clock.now_us(), 10) == [due.id]
        assert await job.free() == 1
        assert await job.free() == 0

        states = await core.store.find_parents([due.id, later.id])
        assert states[due.id].state is TransferState.EXPIRED
        assert states[later.id].state is TransferState.HELD
        account = await core.accounts.read(payer)
        assert account is not None
        assert (account.balance, account.held) == (1_000, 200)
    assert await violations(admin) == []


async def test_what_is_due_is_found_earliest_first_and_no_more_than_asked_for(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    clock = clock_behind()
    async with command_core(database.dsn("command"), clock=clock) as core:
        _, payer, payee = await core.open(2)
        second = await hold(core, payer, payee, 300, within_us=HOUR_US + 60_000_000)
        first = await hold(core, payer, payee, 200, within_us=HOUR_US)
        clock.shift_s = 0.0
        now_us = clock.now_us()
        assert await core.store.find_expired_holds(now_us, 1) == [first.id]
        assert await core.store.find_expired_holds(now_us, 3) == [first.id, second.id]
    assert await violations(admin) == []


async def test_a_process_whose_clock_runs_ahead_ends_no_hold(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    clock = ShiftedClock(wall_only=True)
    async with command_core(database.dsn("command"), clock=clock) as core:
        _, payer, payee = await core.open(2)
        held = await hold(core, payer, payee, 300, within_us=HOUR_US)
        clock.shift_s = 3_601.0
        assert await core.store.find_expired_holds(clock.now_us(), 10) == []
        assert await ExpiryJob(core.engine, core.store, clock).free() == 0
        early = await core.one(
            follow(held, TransferKind.RELEASE, released_as=TransferState.EXPIRED)
        )
        assert isinstance(early, Refused)
        assert early.error.reason is Reason.ILLEGAL_STATE
        # Its own client may free it at any time; that is no expiry.
        freed = await core.one(follow(held, TransferKind.RELEASE))
        assert isinstance(freed, Posted)
        assert freed.transfer.parent_state is TransferState.RELEASED
    assert await violations(admin) == []


async def test_several_processes_free_each_hold_once(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    clock = clock_behind()
    async with (
        command_core(database.dsn("command"), clock=clock) as one,
        command_core(database.dsn("command"), clock=clock) as other,
    ):
        _, *accounts = await one.open(10)
        for payer, payee in pairwise(accounts):
            for _ in range(5):
                await hold(one, payer, payee, 10, within_us=HOUR_US)
        clock.shift_s = 0.0
        jobs = [ExpiryJob(core.engine, core.store, clock) for core in (one, other) * 2]
        freed = await asyncio.gather(*(job.free() for job in jobs))
        assert sum(freed) == 45
        after = await one.accounts.read_many(accounts)
        assert {account.held for account in after.values()} == {0}
    assert await admin.fetchval("SELECT count(*) FROM ledger.open_holds") == 0
    assert await violations(admin) == []


@pytest.mark.parametrize("freed_yet", [False, True])
async def test_past_its_time_a_hold_is_not_captured_whether_or_not_it_was_freed(
    database: OwnDatabase, freed_yet: bool
) -> None:
    clock = clock_behind()
    async with command_core(database.dsn("command"), clock=clock) as core:
        _, payer, payee = await core.open(2)
        held = await hold(core, payer, payee, 300, within_us=HOUR_US)
        clock.shift_s = 0.0
        if freed_yet:
            assert await ExpiryJob(core.engine, core.store, clock).free() == 1
        outcome = await core.one(follow(held, TransferKind.CAPTURE))
        assert isinstance(outcome, Declined)
        assert outcome.decline.reason == Reason.HOLD_NOT_OPEN
        assert outcome.decline.figures["state"] == "EXPIRED"


async def test_a_hold_captured_meanwhile_is_left_alone(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    clock = clock_behind()
    async with command_core(database.dsn("command"), clock=clock) as core:
        _, payer, payee = await core.open(2)
        held = await hold(core, payer, payee, 300, within_us=HOUR_US)
        # The time of its entry decides, whatever the clock of the tables says.
        assert isinstance(await core.one(follow(held, TransferKind.CAPTURE)), Posted)
        clock.shift_s = 0.0
        assert await ExpiryJob(core.engine, core.store, clock).free() == 0
    assert await admin.fetchval("SELECT count(*) FROM ledger.declines") == 0
