"""A command process whose clock steps by an hour, forth and back, beside one that is right."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import Endpoints, LocalStack
from deploy.local.ports import PortClaims
from paycore.runtime.snowflake import created_at_ms
from tests.support.callers import Callers, refusal_of
from tests.support.command_process import command_process
from tests.support.crashing.bank import bank_breaches
from tests.support.crashing.checker import check
from tests.support.crashing.history import Verdict
from tests.support.crashing.judging import Snapshots, writes_of
from tests.support.crashing.linear import order_breaches
from tests.support.crashing.load import Load
from tests.support.crashing.sendings import ATTEMPT_S
from tests.support.crashing.tables import Tables, read_tables
from tests.support.databases import OwnDatabase
from tests.support.forgery import Authority, around_now
from tests.support.ledger_checks import whole_ledger

HOUR_S = 3_600

MORE = 100
"""Transfers that clients are told of at each step."""

WITHIN_S = 180.0

SOON_S = 15.0
"""How long a process may take to go on, or to say that it cannot, on a busy machine."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


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


@dataclass
class Pair:
    """Two processes on one port and one ledger: one is right, of the other the clock steps."""

    dsn: str
    clock: Clock
    load: Load
    snapshots: Snapshots
    before: Tables

    async def whole(self) -> Tables:
        """The tables, in which nothing may be wrong."""
        await self.load.settle(WITHIN_S + ATTEMPT_S)
        await self.load.replay(500)
        tables = await read_tables(self.dsn)
        there = frozenset(row.id for row in self.before.transfers)
        assert check(self.load.history, tables, there).all == ()
        bank = self.load.bank
        seen = self.snapshots
        assert list(bank_breaches(bank.accounts, bank.reads, seen.bank, (), bank.strangers)) == []
        assert (
            list(order_breaches(bank.reads, writes_of(self.load.history, tables, bank.accounts)))
            == []
        )
        assert seen.everybody == []
        await whole_ledger(self.dsn)
        return tables


@pytest.fixture
async def pair(
    request: pytest.FixtureRequest,
    services: LocalStack,
    database: OwnDatabase,
    rng: random.Random,
    tmp_path: Path,
) -> AsyncIterator[Pair]:
    """Both serve. The parameter is by how much the one clock is wrong from its start on."""
    endpoints, clock, dsn = services.endpoints, Clock(tmp_path / "clock"), database.dsn("audit")
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
        clock.step(request.param)
        await resources.enter_async_context(
            command_process(
                endpoints,
                tmp_path / "stepped.log",
                module=("tests.support.stepped_clock", str(clock.file), "command_service"),
                **shared,
                **valid_for_long(endpoints, tmp_path / "tls"),
            )
        )
        callers = await resources.enter_async_context(Callers(endpoints, target))
        load = Load(callers, rng)
        await load.prepare(approvals=False)
        yield Pair(dsn, clock, load, Snapshots(), await read_tables(dsn))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("pair", [0], indirect=True)
async def test_an_hour_ahead_and_back_again(pair: Pair) -> None:
    load, began_us = pair.load, time.time_ns() // 1_000
    async with (
        pair.snapshots.taken(pair.dsn, load.bank.accounts),
        load.running(clients=9, readers=2),
    ):
        await load.until_acknowledged(MORE, WITHIN_S)
        pair.clock.step(HOUR_S)
        await until(lambda: ahead(load, began_us), WITHIN_S)
        await load.until_acknowledged(MORE, WITHIN_S)
        await until(lambda: len(told_instances(load)) == 2, WITHIN_S)
        # Its ids of that hour are not given again: it goes on with another number.
        pair.clock.step(0)
        await until(lambda: len(told_instances(load)) == 3, SOON_S)
        await load.until_acknowledged(MORE, WITHIN_S)
    tables = await pair.whole()
    assert instances(tables) == 3
    # What it wrote is an hour ahead, and what followed on those accounts is later still.
    assert latest_us(tables) - began_us > HOUR_S * 1_000_000
    assert "DATABASE_UNAVAILABLE" not in reasons(load)
    # Whatever has an id of one's own has it alone.
    ids = [row.id for rows in (tables.transfers, tables.declines, tables.journal) for row in rows]
    assert len(ids) == len(set(ids))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("pair", [-HOUR_S, HOUR_S], indirect=True, ids=["behind", "ahead"])
async def test_an_hour_wrong_from_the_start(pair: Pair) -> None:
    load = pair.load
    async with (
        pair.snapshots.taken(pair.dsn, load.bank.accounts),
        load.running(clients=9, readers=2),
    ):
        await load.until_acknowledged(3 * MORE, WITHIN_S)
    tables = await pair.whole()
    assert instances(tables) == 2


@pytest.mark.timeout(600)
async def test_health_says_when_no_number_is_left_for_its_clock(
    services: LocalStack, database: OwnDatabase, tmp_path: Path
) -> None:
    endpoints, clock = services.endpoints, Clock(tmp_path / "clock")
    clock.step(HOUR_S)
    async with (
        command_process(
            endpoints,
            tmp_path / "stepped.log",
            module=("tests.support.stepped_clock", str(clock.file), "command_service"),
            POSTGRES_DSN=database.dsn("command"),
            **valid_for_long(endpoints, tmp_path / "tls"),
        ) as (target, _),
        Callers(endpoints, target) as callers,
    ):
        caller = callers.of("loadtest")
        health = health_pb2_grpc.HealthStub(caller.channels["command"])
        await caller.open(2)
        assert await status_of(health) == SERVING
        await change(
            database,
            "INSERT INTO ledger.id_leases"
            " SELECT number, gen_random_uuid(), now() + interval '1 day'"
            " FROM generate_series(0, 1023) AS number ON CONFLICT DO NOTHING",
        )
        clock.step(0)
        # Commands are what needs ids.
        refusal = await refusal_of(caller.open(2))
        assert refusal is not None
        assert refusal.reason == "DATABASE_UNAVAILABLE"
        assert "clock" in refusal.details
        await until_status(health, NOT_SERVING)
        await change(
            database, "DELETE FROM ledger.id_leases WHERE expires_at > now() + interval '1 h'"
        )
        await until_status(health, SERVING)
        await caller.open(2)


async def change(database: OwnDatabase, statement: str) -> None:
    """Change the tables from behind the services."""
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def status_of(health: Any) -> int:
    """What the whole process says of itself."""
    reply = await health.Check(health_pb2.HealthCheckRequest(), timeout=ATTEMPT_S)
    status: int = reply.status
    return status


async def until_status(health: Any, status: int) -> None:
    """Wait until health says so."""
    async with asyncio.timeout(SOON_S):
        while await status_of(health) != status:
            await asyncio.sleep(0.05)


async def until(reached: Callable[[], bool], within_s: float) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(within_s):
        while not reached():
            await asyncio.sleep(0.02)


def told_instances(load: Load) -> set[int]:
    """The instance numbers in the ids of transfers that clients were told of."""
    return {
        told.id >> 12 & 1023
        for operation in load.history
        if (posted := operation.posted) is not None
        for told in posted.transfers
    }


def ahead(load: Load, began_us: int) -> bool:
    """Whether clients were told of an id of an hour after `began_us`."""
    return any(
        created_at_ms(told.id) * 1_000 - began_us > HOUR_S * 1_000_000
        for operation in load.history
        if (posted := operation.posted) is not None
        for told in posted.transfers
    )


def valid_for_long(endpoints: Endpoints, folder: Path) -> dict[str, str]:
    """Settings with a certificate that was valid an hour ago, as those of a new stack were not."""
    files = endpoints.tls["command"]
    times = around_now(before=timedelta(hours=2), after=timedelta(hours=2))
    leaf = Authority.of_stack(files).issue_service("command", times)
    own = leaf.write(folder, files.ca.read_bytes())
    return {
        "TLS_CERTIFICATE": str(own.certificate),
        "TLS_KEY": str(own.key),
        "TLS_CA": str(own.ca),
    }


def instances(tables: Tables) -> int:
    """How many processes posted: each has an id instance of its own."""
    return len({row.id >> 12 & 1023 for row in tables.transfers})


def latest_us(tables: Tables) -> int:
    """The time of the latest transfer."""
    return max(row.created_at_us for row in tables.transfers)


def reasons(load: Load) -> set[str]:
    """Why attempts had no outcome."""
    return {
        reply.reason
        for operation in load.history
        for reply in operation.replies
        if reply.verdict is Verdict.UNHEARD
    }
