"""Fills every table, and measures its first and its last rows in turns with the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from tests.bench.keys.proof import Proof, prove
from tests.bench.keys.shapes import Keys
from tests.bench.keys.store import KeyTable, Sizes

BATCH = 500
IN_FLIGHT = 2
SLICES = 4
"""Turns that each table takes in a phase; a checkpoint goes before each."""

MEASURED_PER_PHASE = 0.05
FILL_STEPS = 18

Advance = Callable[[str, int], None]
"""Told what goes on, and how many rows were stored since."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One turn of one table."""

    rows: int
    seconds: float
    find_s: Sequence[float]
    """Of each batch's look-up."""
    batch_s: Sequence[float]
    """Of each whole transaction."""
    wal_bytes: int
    page_images: int


@dataclass(frozen=True, slots=True)
class Result:
    """What one table showed."""

    table: KeyTable
    start: Sequence[Slice]
    end: Sequence[Slice]
    sizes: Sizes
    proof: Proof


@dataclass(frozen=True, slots=True)
class Run:
    """Where and how much is measured."""

    dsn: str
    """The administrator's, on a migrated database that nobody else writes to."""
    rows: int
    """Of each table in the end."""
    advance: Advance

    @property
    def measured(self) -> int:
        """Rows of each phase, whole batches in each slice."""
        unit = BATCH * SLICES
        return max(1, round(self.rows * MEASURED_PER_PHASE / unit)) * unit

    async def measure(self, tables: Sequence[tuple[KeyTable, Keys]]) -> list[Result]:
        """Start, middle and end of every table, then the proofs.

        Raises BenchError where a table did not keep its rows, or kept one twice.
        """
        lanes = [await asyncpg.connect(self.dsn) for _ in range(IN_FLIGHT)]
        try:
            return await self._on(lanes, tables)
        finally:
            for lane in lanes:
                await lane.close()

    async def _on(
        self, lanes: Sequence[asyncpg.Connection], tables: Sequence[tuple[KeyTable, Keys]]
    ) -> list[Result]:
        for table, _ in tables:
            await table.create(lanes[0])
        starts = await self._phase(lanes, tables)
        await self._fill(lanes, tables)
        ends = await self._phase(lanes, tables)
        results = []
        for (table, keys), start, end in zip(tables, starts, ends, strict=True):
            self.advance(f"{table.layout}, {table.shape}: proof", 0)
            proof = await prove(lanes, table, keys, self.rows)
            sizes = await table.sizes(lanes[0])
            results.append(Result(table, start, end, sizes, proof))
        return results

    async def _phase(
        self, lanes: Sequence[asyncpg.Connection], tables: Sequence[tuple[KeyTable, Keys]]
    ) -> list[list[Slice]]:
        """The slices of each table, in turns, so that a slow spell falls on all alike."""
        slices: list[list[Slice]] = [[] for _ in tables]
        for _ in range(SLICES):
            for own, (table, keys) in zip(slices, tables, strict=True):
                own.append(await self._slice(lanes, table, keys))
        return slices

    async def _fill(
        self, lanes: Sequence[asyncpg.Connection], tables: Sequence[tuple[KeyTable, Keys]]
    ) -> None:
        """Store what lies between the phases; each lane takes the next table."""
        left = self.rows - 2 * self.measured
        waiting = iter(tables)

        async def lane(connection: asyncpg.Connection) -> None:
            await connection.execute("SET work_mem = '512MB'")
            for table, keys in waiting:
                for step in range(FILL_STEPS):
                    count = left * (step + 1) // FILL_STEPS - left * step // FILL_STEPS
                    await table.fill(connection, keys, count)
                    self.advance("filling", count)
                await table.settle(connection)
            await connection.execute("RESET work_mem")

        self.advance("filling", 0)
        async with asyncio.TaskGroup() as group:
            for connection in lanes:
                group.create_task(lane(connection))

    async def _slice(
        self, lanes: Sequence[asyncpg.Connection], table: KeyTable, keys: Keys
    ) -> Slice:
        count = self.measured // SLICES
        window = table.window(keys.made)
        batches = iter([keys.take(BATCH) for _ in range(count // BATCH)])
        find_s: list[float] = []
        batch_s: list[float] = []

        async def lane(connection: asyncpg.Connection) -> None:
            for clients, names in batches:
                found_s, whole_s = await table.post(connection, clients, names, window)
                find_s.append(found_s)
                batch_s.append(whole_s)

        self.advance(f"{table.layout}, {table.shape}: measuring", 0)
        await lanes[0].execute("CHECKPOINT")
        images, wal = await _written(lanes)
        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for connection in lanes:
                group.create_task(lane(connection))
        seconds = time.perf_counter() - began_s
        images_after, wal_after = await _written(lanes)
        self.advance(f"{table.layout}, {table.shape}: measuring", count)
        return Slice(count, seconds, find_s, batch_s, wal_after - wal, images_after - images)


async def _written(lanes: Sequence[asyncpg.Connection]) -> tuple[int, int]:
    """Page images and bytes of WAL since the server began."""
    for lane in lanes:
        # A session tells its counts a second late otherwise.
        await lane.execute("SELECT pg_stat_force_next_flush()")
        await lane.execute("SELECT 1")
    row = await lanes[0].fetchrow(
        "SELECT wal_fpi, pg_current_wal_insert_lsn() - '0/0'::pg_lsn FROM pg_stat_wal"
    )
    return int(row[0]), int(row[1])
