"""One layout's table: written in batches as posting writes, or filled in large steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.bench.keys.layouts import DESIGNS, SCHEMA, WINDOWS, Layout
from tests.bench.keys.shapes import Keys, Shape

REQUEST_HASH = b"\x5a" * 16


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of everything in a table's partitions."""

    table: int
    index: int
    levels: int
    """Height of the highest index, its leaves included."""


class KeyTable:
    """A table in one layout, for keys of one shape. Holds no connection."""

    def __init__(self, layout: Layout, shape: Shape, rows: int) -> None:
        """`rows` is how many there will be: windows are opened by it."""
        self.layout = layout
        self.shape = shape
        self.name = f"{SCHEMA}.{layout}_{shape}"
        self._design = DESIGNS[layout]
        self._rows = rows
        self._find = (
            "SELECT used.client, used.key, used.request_hash, used.outcome, used.outcome_id,"
            " used.journal_xid, used.journal_id"
            " FROM unnest($1::text[], $2::text[]) AS wanted (client, key)"
            f" JOIN {self.name} AS used ON {self._design.match()}"
        )
        column, value = (", generation", ", $6::int") if self._design.windowed else ("", "")
        self._write = (
            f"INSERT INTO {self.name}"
            f" (client, key, outcome, outcome_id, request_hash, journal_id{column})"
            f" SELECT client, key, outcome, outcome_id, request_hash, 1{value}"
            " FROM unnest($1::text[], $2::text[], $3::ledger.outcome_kind[], $4::bigint[],"
            " $5::bytea[]) AS used (client, key, outcome, outcome_id, request_hash)"
        )

    async def create(self, connection: asyncpg.Connection) -> None:
        """Make it, empty."""
        for statement in self._design.statements(self.name):
            await connection.execute(statement)

    def window(self, stored: int) -> int:
        """The window that takes rows when `stored` are in the table."""
        return min(WINDOWS - 1, stored * WINDOWS // self._rows)

    async def find(
        self, connection: asyncpg.Connection, clients: list[str], keys: list[str]
    ) -> list[Any]:
        """What is stored of the keys."""
        found: list[Any] = await connection.fetch(self._find, clients, keys)
        return found

    async def write(
        self, connection: asyncpg.Connection, clients: list[str], keys: list[str], window: int
    ) -> None:
        """Store the keys. Raises UniqueViolationError, and stores none, where one is there."""
        count = len(keys)
        row = ["TRANSFER"] * count, list(range(count)), [REQUEST_HASH] * count
        windowed = (window,) if self._design.windowed else ()
        await connection.execute(self._write, clients, keys, *row, *windowed)

    async def post(
        self, connection: asyncpg.Connection, clients: list[str], keys: list[str], window: int
    ) -> tuple[float, float]:
        """A batch as posting does it, in one transaction: look up, write, commit.

        Gives the seconds of the look-up and of the whole.
        """
        began_s = time.perf_counter()
        async with connection.transaction():
            asked_s = time.perf_counter()
            if await self.find(connection, clients, keys):
                raise ValueError("a new key was found")
            found_s = time.perf_counter()
            await self.write(connection, clients, keys, window)
        return found_s - asked_s, time.perf_counter() - began_s

    async def fill(self, connection: asyncpg.Connection, keys: Keys, count: int) -> None:
        """Store the next `count` keys in one statement, in the order of the index.

        Each leaf is visited once, not once a key; after several such steps the leaves are as full
        as random order leaves them, for the keys of each step are random themselves.
        """
        client, key = keys.expressions()
        design = self._design
        order = design.index if keys.shape is Shape.RANDOM else "number"
        window = self.window(keys.made)
        column, value = (", generation", f", {window}") if design.windowed else ("", "")
        first, last = keys.made, keys.made + count - 1
        await connection.execute(
            f"INSERT INTO {self.name}"
            f" (client, key, outcome, outcome_id, request_hash, journal_id{column})"
            f" SELECT client, key, 'TRANSFER', number, '\\x{REQUEST_HASH.hex()}', {first}{value}"
            f" FROM (SELECT number, {client} AS client, {key} AS key"
            f" FROM generate_series({first}::bigint, {last}) AS made (number) OFFSET 0) AS used"
            f" ORDER BY {order}"
        )
        keys.made += count

    async def count(self, connection: asyncpg.Connection) -> int:
        return int(await connection.fetchval(f"SELECT count(*) FROM {self.name}"))

    async def settle(self, connection: asyncpg.Connection) -> None:
        """Vacuum and analyze, as the server does by itself in a slower fill."""
        await connection.execute(f"VACUUM (ANALYZE) {self.name}")

    async def sizes(self, connection: asyncpg.Connection) -> Sizes:
        row = await connection.fetchrow(
            "WITH part AS ("
            f" SELECT '{self.name}'::regclass AS id"
            f" UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = '{self.name}'::regclass"
            ") SELECT sum(pg_table_size(id)), sum(pg_indexes_size(id)), ("
            f"  SELECT max(({SCHEMA}.bt_metap(indexrelid::regclass::text)).level) + 1"
            "  FROM pg_index WHERE indrelid IN (SELECT id FROM part)"
            ") FROM part"
        )
        return Sizes(*map(int, row))
