"""How far a sink has accepted the journal, kept in PostgreSQL."""

from __future__ import annotations

from typing import Any

import asyncpg

import database
from paycore.domain.position import Position


class Checkpoints:
    """The checkpoint of one sink.

    It is written on the connection that holds the sink's lock, so that whoever lost the lock cannot
    move it.
    """

    def __init__(self, connection: asyncpg.Connection, sink: str) -> None:
        self._connection = connection
        self._sink = sink
        self._queries: Any = database.load("projector")

    async def load(self) -> Position:
        """The position up to which the sink accepted the journal; its beginning when none.

        It may be of another epoch than the ledger is in.
        """
        row = await self._queries.load_checkpoint(self._connection, sink=self._sink)
        if row is None:
            return Position.beginning(await self.epoch())
        return Position(row["epoch"], row["xid"], row["journal_id"])

    async def epoch(self) -> int:
        """The epoch that the ledger is in."""
        epoch: int = await self._queries.read_epoch(self._connection)
        return epoch

    async def save(self, position: Position) -> None:
        """Record that the sink accepted everything up to `position`."""
        await self._queries.save_checkpoint(
            self._connection,
            sink=self._sink,
            epoch=position.epoch,
            xid=position.xid,
            journal_id=position.journal_id,
        )

    async def confirm_connected(self) -> None:
        """Prove that the connection, and with it the lock, is still there."""
        await self._queries.still_connected(self._connection)
