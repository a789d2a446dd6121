"""A ledger of a test's own, with a tail that follows it as role paycore_query."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg
import pytest

from deploy.local import Endpoints
from paycore.domain.accounts import AccountId
from paycore.domain.position import Position
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from query_service.personal import DetailsOpener
from query_service.readers.postgres.watched import PostgresWatchedLedger
from query_service.watching.port import LAST_ID, DeclinePlace, Place
from query_service.watching.tail import Tail
from query_service.watching.watch import Step, Watch
from tests.integration.projector.ledger import TestLedger
from tests.support.databases import OwnDatabase

WITHIN_S = 120.0
BEGINNING = Place(0, DeclinePlace(0, 0))

Seen = tuple[str, int]
"""`entry` with its version, or `decline` with its id."""


@dataclass
class Stage:
    """What is watched, and what watches it."""

    ledger: TestLedger
    watched: PostgresWatchedLedger
    tail: Tail
    clock: SystemClock

    def watch(
        self, account: int, place: Place = BEGINNING, *, declines: bool = True, epoch: int = 1
    ) -> Watch:
        return Watch(
            self.watched,
            self.tail,
            self.clock,
            AccountId(account),
            place,
            epoch,
            declines=declines,
        )

    async def now(self, account: int) -> Place:
        """Where somebody begins who watches from now on."""
        now = await self.watched.account_now(AccountId(account))
        return Place(now.version, DeclinePlace(now.complete_below - 1, LAST_ID))

    async def expected(self, account: int) -> tuple[list[int], list[int]]:
        """The ids of the account's transfers by version, and of its declines by the journal."""
        entries = await self.ledger.rows(
            "SELECT transfer FROM ledger.entries WHERE account = $1 ORDER BY version", account
        )
        declines = await self.ledger.rows(
            "SELECT declines.id FROM ledger.journal CROSS JOIN unnest(declines) AS named"
            " JOIN ledger.declines ON declines.id = named WHERE debit_account = $1"
            " ORDER BY journal.xid, declines.id",
            account,
        )
        return [row["transfer"] for row in entries], [row["id"] for row in declines]

    async def positions(self) -> list[tuple[Position, set[int]]]:
        """Every row of the journal in its order, with the transfers it names."""
        rows = await self.ledger.rows("SELECT xid, id, transfers FROM ledger.journal ORDER BY 1, 2")
        return [(Position(1, row["xid"], row["id"]), set(row["transfers"])) for row in rows]


@pytest.fixture
async def stage(database: OwnDatabase, endpoints: Endpoints) -> AsyncIterator[Stage]:
    clock = SystemClock()
    pool = await asyncpg.create_pool(database.dsn("owner"), min_size=1, max_size=24)
    channel = open_channel(endpoints.signing_target, endpoints.tls["query"], service="signing")
    watched = PostgresWatchedLedger(database.dsn("query"), DetailsOpener(DataKeys(channel, clock)))
    tail = Tail(watched, clock)
    running = asyncio.create_task(tail.run())
    try:
        yield Stage(TestLedger(pool), watched, tail, clock)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await watched.close()
        await channel.close(None)
        await pool.close()


@asynccontextmanager
async def steps_of(watch: Watch) -> AsyncIterator[AsyncIterator[Step]]:
    """The steps of `watch`, within WITHIN_S seconds."""
    steps = watch.steps()
    try:
        async with asyncio.timeout(WITHIN_S):
            yield steps
    finally:
        await steps.aclose()


async def take(steps: AsyncIterator[Step], count: int) -> list[Step]:
    """The next `count` steps that have an event."""
    found: list[Step] = []
    while len(found) < count:
        step = await anext(steps)
        if step.event is not None:
            found.append(step)
    return found


def told(steps: list[Step]) -> tuple[list[int], list[int]]:
    """The ids of transfers, and of declines, in the order in which they came."""
    events = [step.event for step in steps if step.event is not None]
    return (
        [event.record.id for event in events if event.decline is None],
        [event.record.id for event in events if event.decline is not None],
    )
