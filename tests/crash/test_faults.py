"""Every part is killed, paused and cut off under load of all commands; a checker that knows only
what clients were told and what the tables hold finds nothing.

`make crash SEED=1` has every fault strike four times at least, and parts be killed more than 200
times, under half a million payments; without it a few strike once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.callers import Callers
from tests.support.crashing.commands import PLAIN
from tests.support.crashing.faults import Faults
from tests.support.crashing.judging import AUDIT, Snapshots, judge
from tests.support.crashing.load import CROWD, Load
from tests.support.crashing.plan import long_plan, short_plan
from tests.support.crashing.proxied_stack import ProxiedStack, proxied_stack
from tests.support.crashing.report import Report
from tests.support.crashing.tables import read_tables
from tests.support.run_folder import run_folder
from tests.support.seeds import rounds

ROUNDS = rounds("PAYCORE_CRASH_ROUNDS", 0)
"""How often every fault strikes at least; none for a short round."""

PAYMENTS = rounds("PAYCORE_CRASH_PAYMENTS", 130_000 * ROUNDS)
"""Transfers that clients are told of at least, in equal parts before each step of the plan."""

SAVED = bool(rounds("PAYCORE_CRASH_SAVE", 0))
"""Whether the report goes into docs/proof/crash.md."""

CLIENTS = 9
READERS = 2
CARRIERS = 4 if ROUNDS else 1
"""Clients with many payments a call."""

BETWEEN = 10
"""Transfers that clients are told of between two faults, at least."""

LONGEST_S = rounds("PAYCORE_CRASH_LONGEST_S", 6) if ROUNDS else 1.5
"""Of a pause, or of what is away or slow."""

BACK_WITHIN_S = 600.0

PAYING_WITHIN_S = 5.0
"""After PostgreSQL lets somebody in, until a client is told of a new payment."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a stack of this test's own."""
    with run_folder() as folder:
        yield folder


@pytest.fixture
async def proxied(folder: Path) -> AsyncIterator[ProxiedStack]:
    """The stack: its ledger is empty."""
    async with proxied_stack(folder) as proxied:
        yield proxied


@pytest.mark.timeout(900 + 3_600 * ROUNDS)
async def test_nothing_is_lost_or_doubled_whatever_befalls_the_parts(
    proxied: ProxiedStack, rng: random.Random
) -> None:
    of_load, of_faults, of_plan, of_judge = (random.Random(rng.getrandbits(64)) for _ in range(4))
    endpoints = proxied.endpoints
    async with Callers(endpoints, proxied.command_target) as callers:
        load = Load(callers, of_load)
        await load.prepare(crowd=CROWD)
        before = await read_tables(endpoints.postgres_dsn[AUDIT])
        faults = Faults(proxied, load, of_faults, LONGEST_S)
        plan = long_plan(faults.all, of_plan, ROUNDS) if ROUNDS else short_plan(faults.all, of_plan)
        snapshots = Snapshots()
        began_s = time.monotonic()
        async with (
            snapshots.taken(endpoints.postgres_dsn[AUDIT], load.bank.accounts),
            load.running(CLIENTS, READERS, CARRIERS),
        ):
            for step, together in enumerate(plan, start=1):
                behind = PAYMENTS * step // len(plan) - load.history.acknowledged
                await load.until_acknowledged(max(BETWEEN, behind), BACK_WITHIN_S)
                print(f"{time.monotonic() - began_s:8.1f} s", [(f.kind, f.name) for f in together])
                await asyncio.gather(*(faults.strike(fault) for fault in together))
                await faults.heal()
            await load.until_acknowledged(BETWEEN, BACK_WITHIN_S)
        took_s = time.monotonic() - began_s
        judgement = await judge(load, callers.of(PLAIN), endpoints, before, snapshots, of_judge)
    report = Report(
        load.history,
        judgement,
        faults.struck,
        faults.crashes,
        faults.missed,
        faults.postgres_back_s,
        ROUNDS,
        LONGEST_S,
        took_s,
        PAYMENTS,
    )
    report.show()
    assert judgement.findings.all == ()
    assert {operation.command for operation in load.history if operation.posted} >= SORTS
    assert judgement.reads > 0
    assert judgement.snapshots > 0
    # Every time that PostgreSQL was gone.
    assert faults.postgres_back_s
    assert max(faults.postgres_back_s) <= PAYING_WITHIN_S
    assert load.history.acknowledged >= PAYMENTS
    if SAVED:
        await report.save(endpoints)


SORTS = {
    *("SINGLE", "BULK", "STREAM", "GROUP", "HOLD", "CAPTURE", "RELEASE", "REFUND", "REVERSAL"),
    *("BY_PIN", "BY_DEVICE", "BANK", "LARGE_BULK", "LARGE_STREAM"),
}
"""Commands each of which must have been posted."""
