"""The ledger as it is watched, from PostgreSQL: the primary or a replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg

import database
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason, account_not_found
from paycore.domain.position import Position
from paycore.runtime.database import DISCONNECTED, LazyPool
from paycore.runtime.pools import PoolName
from query_service.readers.port import Answer, Freshness, ReadTerms
from query_service.readers.postgres import rows
from query_service.readers.postgres.rows import OpensDetails, Row
from query_service.readers.records import AccountRecord
from query_service.watching.port import (
    AccountSnapshot,
    DeclinePlace,
    Event,
    LedgerIncompleteError,
    Page,
    Snapshot,
)

CONNECTIONS = 5
"""One that follows the journal, the others for those who catch up."""

READ_WITHIN_S = 5.0
"""How long an answer may take, with the connection that it needs, in seconds."""

KEYS_WITHIN_S = 0.5
"""How long events wait at most for the keys of their personal data, in seconds: longer than lists
do, for an event is sent once."""

MAX_JOURNAL_ROWS = 1_000
MAX_ENTRIES = 5_000
"""Bounds on a page of the journal: rows, and what they name; a row may name a thousand."""


class Named(NamedTuple):
    """What the journal names of accounts."""

    transfers: Sequence[Row]
    declines: Sequence[Row]


class PostgresWatchedLedger:
    """Implements WatchedLedger, and AccountReader for those who watch."""

    def __init__(self, dsn: str, opener: OpensDetails) -> None:
        self._pool = LazyPool(
            dsn,
            size=CONNECTIONS,
            name=PoolName.WATCHES,
            application="query-watch",
            command_timeout_s=READ_WITHIN_S,
        )
        self._opener = opener
        self._queries: Any = database.load("watch")

    async def close(self) -> None:
        """Close the connections, within READ_WITHIN_S."""
        await self._pool.close()

    async def begin(self) -> Snapshot:
        """See WatchedLedger."""
        async with self._connection() as connection:
            return _snapshot(await self._queries.begin_tail(connection))

    async def follow(self, after: Snapshot, accounts: Collection[AccountId]) -> Page:
        """See WatchedLedger."""
        async with self._connection() as connection:
            found = await self._queries.follow_journal(
                connection,
                after_xid=after.position.xid,
                after_id=after.position.journal_id,
                max_rows=MAX_JOURNAL_ROWS,
                max_entries=MAX_ENTRIES,
            )
            first, last = found[0], found[-1]
            epoch, stalled = first["epoch"], first["xmin"] < first["xmax"]
            if first["id"] is None:
                position = Position(epoch, *after.position[1:])
                return Page(Snapshot(first["xmin"], position), False, stalled, (), ())
            count = sum(len(row["transfers"]) + len(row["declines"]) for row in found)
            full = len(found) == MAX_JOURNAL_ROWS or count >= MAX_ENTRIES
            named = await self._named(connection, found, accounts)
        return Page(
            # Other rows of the last transaction may follow: none of those below it.
            Snapshot(
                last["xid"] + 1 if full else first["xmin"],
                Position(epoch, last["xid"], last["id"]),
            ),
            full,
            stalled,
            [row["created_at_us"] for row in found],
            await self._events(found, named),
        )

    async def account_now(self, account: AccountId) -> AccountSnapshot:
        """See WatchedLedger."""
        async with self._connection() as connection:
            row = await self._queries.account_now(connection, account=account)
        if row is None:
            raise account_not_found(account)
        now = _snapshot(row)
        return AccountSnapshot(now.complete_below, now.position, row["version"])

    async def account(self, account: AccountId, terms: ReadTerms) -> Answer[AccountRecord | None]:
        """See AccountReader."""
        async with self._connection() as connection:
            row = await self._queries.watched_account(connection, account=account)
        return Answer(
            None if row is None else rows.account(row), Freshness("postgresql", None, None)
        )

    async def entries(self, account: AccountId, above: int, up_to: int) -> Sequence[Event]:
        """See WatchedLedger."""
        async with self._connection() as connection:
            found = await self._queries.entries_between(
                connection, account=account, above=above, most=up_to - above
            )
        events = await self._posted(found)
        if [event.version_on(account) for event in events] != list(range(above + 1, up_to + 1)):
            raise LedgerIncompleteError(f"account {account} lacks entries from {above} to {up_to}")
        return events

    async def declines(
        self, account: AccountId, after: DeclinePlace, below: int, most: int
    ) -> Sequence[Event]:
        """See WatchedLedger."""
        async with self._connection() as connection:
            found = await self._queries.declines_between(
                connection,
                account=account,
                after_xid=after.xid,
                after_id=after.id,
                below_xid=below,
                most=most,
            )
        return await self._declined(found)

    async def journal_time_us(self, position: Position) -> int | None:
        """See WatchedLedger."""
        async with self._connection() as connection:
            found: int | None = await self._queries.journal_time_at(
                connection, xid=position.xid, journal_id=position.journal_id
            )
        return found

    async def entry_time_us(self, account: AccountId, version: int) -> int:
        """See WatchedLedger."""
        async with self._connection() as connection:
            found: int | None = await self._queries.entry_time(
                connection, account=account, version=version
            )
        if found is None:
            raise LedgerIncompleteError(f"account {account} lacks entry {version}")
        return found

    async def first_entry_after(
        self, account: AccountId, above: int, up_to: int, xid: int
    ) -> int | None:
        """See WatchedLedger."""
        async with self._connection() as connection:
            found: int | None = await self._queries.first_entry_after(
                connection, account=account, above=above, most=up_to - above, xid=xid
            )
        return found

    async def _named(
        self,
        connection: asyncpg.Connection,
        journal: Sequence[Row],
        accounts: Collection[AccountId],
    ) -> Named:
        wanted = sorted(accounts)
        transfers = [key for row in journal for key in row["transfers"]]
        declines = [key for row in journal for key in row["declines"]]
        return Named(
            await self._queries.watched_transfers(connection, ids=transfers, accounts=wanted)
            if transfers
            else (),
            await self._queries.watched_declines(connection, ids=declines, accounts=wanted)
            if declines
            else (),
        )

    async def _events(self, journal: Sequence[Row], named: Named) -> list[Event]:
        """What `journal` names of accounts that are watched, in its order."""
        events = [*await self._posted(named.transfers), *await self._declined(named.declines)]
        found = {event.record.id: event for event in events}
        return [
            found[key]
            for row in journal
            for key in (*row["transfers"], *sorted(row["declines"]))
            if key in found
        ]

    async def _posted(self, found: Sequence[Row]) -> list[Event]:
        """Transfers as they were posted, whatever followed them."""
        details = await self._opener.open(found, KEYS_WITHIN_S)
        return [Event(rows.transfer(row, None, details.get(row["id"])), None) for row in found]

    async def _declined(self, found: Sequence[Row]) -> list[Event]:
        details = await self._opener.open(found, KEYS_WITHIN_S)
        return [
            Event(
                rows.decline(row, details.get(row["id"])),
                DeclinePlace(row["xid"], row["id"]),
            )
            for row in found
            # Stored before declines told their transactions: nobody watched then.
            if row["xid"] is not None
        ]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                pool = await self._pool.get()
                async with pool.acquire() as connection:
                    yield connection
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            raise PaycoreError(
                Reason.DATABASE_UNAVAILABLE, "the ledger cannot be reached", retry_after_ms=250
            ) from error


def _snapshot(row: Row) -> Snapshot:
    return Snapshot(row["xmin"], Position(row["epoch"], row["xid"] or 0, row["id"] or 0))
