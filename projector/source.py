"""Reads the journal in order, with everything its rows name, one bounded page at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg

import database
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from projector.batch import Batch, Document
from projector.documents import Row
from projector.errors import EpochChangedError, LedgerIncompleteError
from projector.metrics import WATERMARK_AGE_SECONDS
from projector.pages import PageRows, changed_accounts, named, page_documents, parents
from projector.watermark import Watermark

MAX_JOURNAL_ROWS = 2_000
"""Bound on journal rows in a page; a row may name a single transfer."""

CLOCKS_APART = 86_400_000 << 22
"""How far an id may lie below that of an earlier transfer, made by another process: a day, in units
of Snowflake ids."""


class JournalSource:
    """The journal of one ledger, on a connection of its own."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        clock: Clock,
        *,
        epoch: int,
        page_entries: int,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._epoch = epoch
        self._page_entries = page_entries
        self._watermark = Watermark()
        self._queries: Any = database.load("projector")

    async def read(self, after: Position) -> Batch:
        """The stretch of the journal that follows `after`, as documents.

        Raises EpochChangedError when the ledger's history is no longer the one that is followed,
        LedgerIncompleteError, and what asyncpg raises.
        """
        asked_us = self._clock.now_us()
        rows = await self._queries.read_journal(
            self._connection,
            after_xid=after.xid,
            after_id=after.journal_id,
            max_rows=MAX_JOURNAL_ROWS,
            max_entries=self._page_entries,
        )
        first = rows[0]
        if first["epoch"] != self._epoch:
            raise EpochChangedError(
                f"the ledger's epoch changed from {self._epoch} to {first['epoch']}: rebuild"
            )
        complete_until_us = self._watermark.observe(asked_us, first["xmin"], first["xmax"])
        WATERMARK_AGE_SECONDS.set((asked_us - complete_until_us) / 1e6)
        if first["id"] is None:
            return Batch(after, True, complete_until_us, (), ())
        entries = sum(len(r["transfers"]) + len(r["declines"]) + len(r["accounts"]) for r in rows)
        caught_up = len(rows) < MAX_JOURNAL_ROWS and entries < self._page_entries
        last = rows[-1]
        return Batch(
            position=Position(self._epoch, last["xid"], last["id"]),
            caught_up=caught_up,
            source_time_us=(
                complete_until_us if caught_up else min(complete_until_us, last["created_at_us"])
            ),
            written_us=[row["created_at_us"] for row in rows],
            documents=await self._documents(rows),
        )

    async def _documents(self, journal: Sequence[Row]) -> list[Document]:
        transfers = await self._load("transfers", named(journal, "transfers"))
        transfers |= await self._load("transfers", parents(transfers))
        latest_children = await self._latest_children(transfers)
        declines = await self._load("declines", named(journal, "declines"))
        changed = changed_accounts(journal, transfers)
        refused = {row["debit_account"] for row in declines.values()}
        refused.update(row["credit_account"] for row in declines.values())
        accounts = await self._load("accounts", changed, may_lack=refused - changed)
        return page_documents(journal, PageRows(transfers, declines, accounts, latest_children))

    async def _latest_children(self, transfers: Mapping[int, Row]) -> Mapping[int, Row]:
        if not transfers:
            return {}
        rows = await self._queries.load_latest_children(
            self._connection, ids=sorted(transfers), above=min(transfers) - CLOCKS_APART
        )
        return {row["id"]: row for row in rows}

    async def _load(
        self, table: str, needed: Iterable[int], may_lack: Iterable[int] = ()
    ) -> dict[int, Row]:
        keys = {*needed, *may_lack}
        if not keys:
            return {}
        load = getattr(self._queries, f"load_{table}")
        rows: dict[int, Row] = {
            row["id"]: row for row in await load(self._connection, ids=list(keys))
        }
        lacking = keys - rows.keys() - {*may_lack}
        if lacking:
            raise LedgerIncompleteError(
                f"the journal names {len(lacking)} rows that ledger.{table} lacks,"
                f" the first with id {min(lacking)}"
            )
        return rows
