"""The journal's rows with the rows that they name, for sinks that want no documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

import database
from paycore.domain.position import Position
from projector.batch import Decoded, Row
from projector.errors import LedgerIncompleteError


class JournalRow(NamedTuple):
    """One posting transaction, and what it wrote, each in the order in which it was decided."""

    position: Position
    created_at_us: int
    transfers: Sequence[Row]
    """Columns of the query load_transfers: as posted, which never changes, and personal data as it
    stands, sealed or erased."""
    declines: Sequence[Row]
    """Columns of the query load_declines."""
    accounts: Sequence[int]
    """Accounts that were opened, or changed other than by a transfer."""


class RowDecoder:
    """Gives every row of the journal, with nothing opened and nothing made of it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._queries: Any = database.load("projector")

    async def decode(self, journal: Sequence[Row]) -> Decoded[JournalRow]:
        """An item a row. Raises LedgerIncompleteError."""
        transfers = await self._load("transfers", journal)
        declines = await self._load("declines", journal)
        return Decoded(
            [
                JournalRow(
                    Position(row["epoch"], row["xid"], row["id"]),
                    row["created_at_us"],
                    [transfers[key] for key in row["transfers"]],
                    [declines[key] for key in row["declines"]],
                    row["accounts"],
                )
                for row in journal
            ]
        )

    async def _load(self, table: str, journal: Sequence[Row]) -> dict[int, Row]:
        keys = [key for row in journal for key in row[table]]
        if not keys:
            return {}
        load = getattr(self._queries, f"load_{table}")
        rows: dict[int, Row] = {row["id"]: row for row in await load(self._connection, ids=keys)}
        lacking = set(keys) - rows.keys()
        if lacking:
            raise LedgerIncompleteError(
                f"the journal names {len(lacking)} rows that ledger.{table} lacks,"
                f" the first with id {min(lacking)}"
            )
        return rows
