"""A command process whose clock steps by an hour, forth and back, beside one that is right."""

from __future__ import annotations

import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.local import LocalStack
from deploy.local.ports import PortClaims
from tests.support.callers import Callers
from tests.support.command_process import command_process
from tests.support.crashing.bank import bank_breaches
from tests.support.crashing.checker import check
from tests.support.crashing.judging import Snapshots, writes_of
from tests.support.crashing.linear import order_breaches
from tests.support.crashing.load import Load
from tests.support.crashing.sendings import ATTEMPT_S
from tests.support.crashing.tables import read_tables
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import whole_ledger

HOUR_S = 3_600
STEPS_S = (0, HOUR_S, 0, -HOUR_S, 0)
"""By how much the clock is wrong, one after the other."""

MORE = 60
"""Transfers that clients are told of at each."""

WITHIN_S = 180.0


class Clock:
    """The file that says by how much a process's clock is wrong."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.step(0)

    def step(self, by_s: int) -> None:
        """Have the clock be wrong by `by_s` seconds."""
        # At once: the process reads it at any moment.
        unfinished = self.file.with_suffix(".new")
        unfinished.write_text(str(by_s))
        unfinished.rename(self.file)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("from_s", [HOUR_S, -HOUR_S, 0], ids=["ahead", "behind", "right at first"])
async def test_nothing_is_lost_or_doubled_and_time_is_in_order(
    services: LocalStack, database: OwnDatabase, rng: random.Random, tmp_path: Path, from_s: int
) -> None:
    endpoints, clock = services.endpoints, Clock(tmp_path / "clock")
    clock.step(from_s)
    dsn = database.dsn("audit")
    began_us = time.time_ns() // 1_000
    async with AsyncExitStack() as resources:
        claims = PortClaims()
        resources.callback(claims.release)
        shared = {
            "LISTEN": f"127.0.0.1:{claims.claim()[0]}",
            "POSTGRES_DSN": database.dsn("command"),
        }
        target, _ = await resources.enter_async_context(
            command_process(endpoints, tmp_path / "right.log", **shared)
        )
        await resources.enter_async_context(
            command_process(
                endpoints,
                tmp_path / "stepped.log",
                module=("tests.support.stepped_clock", str(clock.file), "command_service"),
                **shared,
            )
        )
        callers = await resources.enter_async_context(Callers(endpoints, target))
        load = Load(callers, rng)
        await load.prepare(approvals=False)
        before = await read_tables(dsn)
        snapshots = Snapshots()
        async with snapshots.taken(dsn, load.bank.accounts), load.running(clients=9, readers=2):
            await load.until_acknowledged(MORE, WITHIN_S)
            for step_s in STEPS_S if from_s == 0 else ():
                clock.step(step_s)
                await load.until_acknowledged(MORE, WITHIN_S)
        await load.settle(WITHIN_S + ATTEMPT_S)
        await load.replay(500)
    tables = await read_tables(dsn)
    findings = check(load.history, tables, frozenset(row.id for row in before.transfers))
    bank = load.bank
    assert findings.all == ()
    assert list(bank_breaches(bank.accounts, bank.reads, snapshots.bank, (), bank.strangers)) == []
    assert list(order_breaches(bank.reads, writes_of(load.history, tables))) == []
    assert snapshots.everybody == []
    await whole_ledger(dsn)
    # Both took part: each has an id instance of its own. One that is ahead takes time with it.
    assert len({row.id >> 12 & 1023 for row in tables.transfers}) == 2
    latest_us = max(row.created_at_us for row in tables.transfers)
    ahead = latest_us - began_us > HOUR_S * 1_000_000
    assert ahead == (from_s >= 0)
