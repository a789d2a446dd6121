"""Holds whose time is up are freed once, by however many processes."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import asyncpg
import pytest

from command_service.posting.expiry import ExpiryJob
from paycore.domain.accounts import AccountId
from paycore.domain.transfers import (
    ChildCommand,
    Posted,
    Refused,
    Transfer,
    TransferKind,
    TransferState,
)
from tests.support.clocks import ShiftedClock
from tests.support.command_core import CLIENT, CommandCore, command_core, payment
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import violations

HOUR_US = 3_600_000_000


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


def capture(of: Transfer) -> ChildCommand:
    return ChildCommand(
        CLIENT,
        f"capture-{of.id}",
        b"hash",
        TransferKind.CAPTURE,
        of.id,
        of.debit_account,
        of.credit_account,
        of.currency,
    )


async def test_only_what_is_due_is_freed(database: OwnDatabase, admin: asyncpg.Connection) -> None:
    clock = ShiftedClock(wall_only=True)
    async with command_core(database.dsn("command"), clock=clock) as core:
        _, payer, payee = await core.open(2)
        due = await hold(core, payer, payee, 300, within_us=HOUR_US)
        later = await hold(core, payer, payee, 200, within_us=2 * HOUR_US)
        job = ExpiryJob(core.engine, core.store, clock)
        assert await job.free() == 0

        clock.shift_s = 3_601.0
        assert await job.free() == 1
        assert await job.free() == 0

        states = await core.store.find_parents([due.id, later.id])
        assert states[due.id].state is TransferState.EXPIRED
        assert states[later.id].state is TransferState.HELD
        account = await core.accounts.read(payer)
        assert account is not None
        assert (account.balance, account.held) == (1_000, 200)
    assert await violations(admin) == []


async def test_several_processes_free_each_hold_once(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    clock = ShiftedClock(wall_only=True)
    async with (
        command_core(database.dsn("command"), clock=clock) as one,
        command_core(database.dsn("command"), clock=clock) as other,
    ):
        _, *accounts = await one.open(10)
        for payer, payee in pairwise(accounts):
            for _ in range(5):
                await hold(one, payer, payee, 10, within_us=HOUR_US)
        clock.shift_s = 3_601.0
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
    clock = ShiftedClock(wall_only=True)
    async with command_core(database.dsn("command"), clock=clock) as core:
        _, payer, payee = await core.open(2)
        held = await hold(core, payer, payee, 300, within_us=HOUR_US)
        clock.shift_s = 3_601.0
        if freed_yet:
            await ExpiryJob(core.engine, core.store, clock).free()
        outcome = await core.one(capture(held))
        assert not isinstance(outcome, Posted | Refused)


async def test_a_hold_captured_meanwhile_is_left_alone(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    clock = ShiftedClock(wall_only=True)
    async with command_core(database.dsn("command"), clock=clock) as core:
        _, payer, payee = await core.open(2)
        held = await hold(core, payer, payee, 300, within_us=HOUR_US)
        assert isinstance(await core.one(capture(held)), Posted)
        clock.shift_s = 3_601.0
        assert await ExpiryJob(core.engine, core.store, clock).free() == 0
    assert await admin.fetchval("SELECT count(*) FROM ledger.declines") == 0
