"""All that is asserted of a run, once everything is calm again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from deploy.local import Endpoints
from tests.support.callers import Caller
from tests.support.crashing.bank import PastRead, bank_breaches, own_read_breaches
from tests.support.crashing.checker import Findings, check
from tests.support.crashing.history import History
from tests.support.crashing.linear import ALWAYS_S, NEVER_S, Mark, Write, order_breaches
from tests.support.crashing.load import Load
from tests.support.crashing.sendings import ATTEMPT_S
from tests.support.crashing.stream_tail import caught_up, due_entries, tail_breaches
from tests.support.crashing.tables import Tables, Transfer, read_tables
from tests.support.index_checks import assert_index_catches_up
from tests.support.ledger_checks import violations

AUDIT = "paycore_audit"
WITHIN_S = 600.0
PAST_READS = 12
MOST_REPLAYS = 2_000


@dataclass
class Judgement:
    """What was looked at, and what was found."""

    findings: Findings
    transfers: int
    declines: int
    operations: int
    unheard: int
    """Commands of which no client was told what became of them."""
    looked_up: int
    replayed: int
    reads: int
    own_reads: int
    past_reads: int
    snapshots: int
    stream_entries: int
    took_s: float
    """How long it took to wait, ask, read and compare."""


@dataclass
class Snapshots:
    """The money of the bank, and of everybody, in single snapshots of the tables while it runs."""

    bank: list[int] = field(default_factory=list)
    everybody: list[str] = field(default_factory=list)
    """Sums that were not zero."""

    @asynccontextmanager
    async def taken(self, dsn: str, accounts: Iterable[int]) -> AsyncIterator[None]:
        """Take them while the block runs; `accounts` are the bank's."""
        taking = asyncio.create_task(self._take(dsn, list(accounts)))
        try:
            yield
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _take(self, dsn: str, accounts: list[int]) -> None:
        while True:
            try:
                connection = await asyncpg.connect(dsn, timeout=5, command_timeout=10)
                try:
                    while True:
                        await self._look(connection, accounts)
                        await asyncio.sleep(0.2)
                finally:
                    connection.terminate()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                # PostgreSQL is one of the parts that are killed.
                await asyncio.sleep(0.2)

    async def _look(self, connection: asyncpg.Connection, accounts: list[int]) -> None:
        rows = await connection.fetch(
            "SELECT currency, sum(balance)::bigint AS total,"
            " coalesce(sum(balance) FILTER (WHERE id = ANY ($1)), 0)::bigint AS bank"
            " FROM ledger.accounts GROUP BY currency",
            accounts,
        )
        self.bank.append(sum(row["bank"] for row in rows))
        self.everybody += [
            f"the sum of all balances in {row['currency']} was {row['total']}"
            for row in rows
            if row["total"]
        ]


async def judge(
    load: Load,
    caller: Caller,
    endpoints: Endpoints,
    before: Tables,
    snapshots: Snapshots,
    rng: random.Random,
) -> Judgement:
    """Ask, replay and compare everything; `before` is the ledger before the first command."""
    began_s = time.monotonic()
    last = load.bank.transfer()
    while last.operations[0].posted is None:
        last = load.bank.transfer()
        await last.attempt(caller)
    unheard = sum(operation.unheard for operation in load.history)
    if unheard:
        # A request whose connection broke may still be carried out until its own deadline.
        await asyncio.sleep(ATTEMPT_S)
    looked_up = await load.settle(WITHIN_S)
    replayed = await load.replay(MOST_REPLAYS)
    tables = await read_tables(endpoints.postgres_dsn[AUDIT])
    there = frozenset(row.id for row in before.transfers)
    findings = check(load.history, tables, there)
    past = await _past_reads(load, caller, tables, last.operations[0].key, rng)
    writes = writes_of(load.history, tables, load.bank.accounts)
    due = due_entries(tables)
    kept = await caught_up(endpoints.stream_url, due, WITHIN_S)
    bank = load.bank
    more = (
        *bank_breaches(bank.accounts, bank.reads, snapshots.bank, past, bank.strangers),
        *own_read_breaches(bank.own_reads, tables),
        *order_breaches(bank.reads, writes),
        *snapshots.everybody,
        *tail_breaches(kept, due),
        *await _by_sql(endpoints),
    )
    await assert_index_catches_up(endpoints, WITHIN_S)
    return Judgement(
        Findings(findings.lost, findings.doubled, (*findings.other, *more)),
        transfers=len(tables.transfers) - len(there),
        declines=len(tables.declines),
        operations=len(load.history.operations),
        unheard=unheard,
        looked_up=looked_up,
        replayed=replayed,
        reads=len(bank.reads),
        own_reads=len(bank.own_reads),
        past_reads=len(past),
        snapshots=len(snapshots.bank),
        stream_entries=len(kept),
        took_s=time.monotonic() - began_s,
    )


def writes_of(history: History, tables: Tables, accounts: Iterable[int]) -> list[Write]:
    """Each transfer of `accounts`, with when it was asked for and when its client heard of it.

    Transfers of others cannot be out of order with what is read of these, as long as nobody else
    pays them or is paid by them but whoever funded them.
    """
    asked, wanted = {operation.key: operation for operation in history}, set(accounts)
    found = []
    for row in tables.transfers:
        if row.debit not in wanted and row.credit not in wanted:
            continue
        operation = asked.get(row.reference or "")
        if operation is None:
            found.append(Write(ALWAYS_S, NEVER_S, _marks(row)))
            continue
        heard_s = min(
            (
                reply.ended_s
                for reply in operation.replies
                if any(told.id == row.id for told in reply.transfers)
            ),
            default=NEVER_S,
        )
        found.append(Write(operation.began_s, heard_s, _marks(row)))
    return found


def _marks(row: Transfer) -> tuple[Mark, ...]:
    debit = Mark(row.debit, row.debit_version, row.debit_balance)
    if row.credit_version is None or row.credit_balance is None:
        return (debit,)
    return (debit, Mark(row.credit, row.credit_version, row.credit_balance))


async def _past_reads(
    load: Load, caller: Caller, tables: Tables, last: str, rng: random.Random
) -> list[PastRead]:
    """Of times between the bank's first transfer and its last one, which the index must show."""
    bank = set(load.bank.accounts)
    times = [row.created_at_us for row in tables.transfers if row.debit in bank]
    (position,) = {
        reply.position
        for operation in load.history
        if operation.key == last
        for reply in operation.replies
        if reply.position
    }
    return [
        await load.bank.read_past(caller, at_us, position)
        for at_us in sorted(rng.randint(min(times), max(times)) for _ in range(PAST_READS))
    ]


async def _by_sql(endpoints: Endpoints) -> list[str]:
    connection = await asyncpg.connect(endpoints.postgres_dsn[AUDIT])
    try:
        return await violations(connection)
    finally:
        await connection.close()
