"""Events of the stream, made of rows that the journal names: the decoder of the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg

import database
from paycore.domain.position import Position
from paycore.domain.stream import EntryId
from projector.batch import Decoded, Row
from projector.errors import LedgerIncompleteError


class Event(NamedTuple):
    """One transfer or stored decline."""

    entry: EntryId
    told: str
    """Its fields in the order of FIELDS, all but `previous`: a JSON array without brackets. That is
    made by PostgreSQL: here it would keep the other sinks' loop from running."""


class EventDecoder:
    """Gives an event for each transfer and each decline, in the order of the journal.

    A row's transfers come before its declines, each in the order in which the row lists them; the
    number of an event within its transaction makes its entry's id.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._queries: Any = database.load("stream")

    async def decode(self, journal: Sequence[Row]) -> Decoded[Event]:
        """The events of `journal`. Raises LedgerIncompleteError."""
        transfers = await self._load("transfers", journal)
        declines = await self._load("declines", journal)
        events: list[Event] = []
        # A page may begin in the middle of a transaction's rows.
        xid = journal[0]["xid"]
        ordinal: int = await self._queries.items_before(
            self._connection, xid=xid, id=journal[0]["id"]
        )
        for row in journal:
            if row["xid"] != xid:
                xid, ordinal = row["xid"], 0
            position = Position(row["epoch"], row["xid"], row["id"]).encode()
            listed = [transfers[key] for key in row["transfers"]]
            listed += [declines[key] for key in row["declines"]]
            for told in listed:
                ordinal += 1
                events.append(Event(EntryId(xid, ordinal), f'{told[1:-1]}, "{position}"'))
        return Decoded(events)

    async def _load(self, table: str, journal: Sequence[Row]) -> Mapping[int, str]:
        keys = [key for row in journal for key in row[table]]
        if not keys:
            return {}
        load = getattr(self._queries, f"load_{table}")
        rows: dict[int, str] = dict(await load(self._connection, ids=keys))
        lacking = set(keys) - rows.keys()
        if lacking:
            raise LedgerIncompleteError(
                f"the journal names {len(lacking)} rows that ledger.{table} lacks,"
                f" the first with id {min(lacking)}"
            )
        return rows
