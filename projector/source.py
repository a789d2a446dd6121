"""Reads the journal in order, one bounded page at a time, and has each page decoded."""

from __future__ import annotations

from typing import Any, Generic

import asyncpg

import database
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from projector.batch import Batch, Item
from projector.errors import EpochChangedError
from projector.metrics import WATERMARK_AGE_SECONDS
from projector.sinks import Decoder
from projector.watermark import Watermark

MAX_JOURNAL_ROWS = 2_000
"""Bound on journal rows in a page; a row may name a single transfer."""


class JournalSource(Generic[Item]):
    """The journal of one ledger for one sink, on a connection of its own."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        decoder: Decoder[Item],
        clock: Clock,
        *,
        sink: str,
        epoch: int,
        page_entries: int,
    ) -> None:
        self._connection = connection
        self._decoder = decoder
        self._clock = clock
        self._epoch = epoch
        self._page_entries = page_entries
        self._watermark = Watermark()
        self._watermark_age = WATERMARK_AGE_SECONDS.labels(sink)
        self._queries: Any = database.load("projector")

    async def read(self, after: Position) -> Batch[Item]:
        """The stretch of the journal that follows `after`, decoded.

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
        self._watermark_age.set((asked_us - complete_until_us) / 1e6)
        if first["id"] is None:
            return Batch(after, True, complete_until_us, (), ())
        entries = sum(len(r["transfers"]) + len(r["declines"]) + len(r["accounts"]) for r in rows)
        caught_up = len(rows) < MAX_JOURNAL_ROWS and entries < self._page_entries
        last = rows[-1]
        decoded = await self._decoder.decode(rows)
        return Batch(
            position=Position(self._epoch, last["xid"], last["id"]),
            caught_up=caught_up,
            source_time_us=(
                complete_until_us if caught_up else min(complete_until_us, last["created_at_us"])
            ),
            written_us=[row["created_at_us"] for row in rows],
            items=decoded.items,
            rewrites=decoded.withheld.union(*(row["erased_keys"] for row in rows)),
        )
