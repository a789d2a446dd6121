"""That a table holds what was written to it, each key once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from tests.bench.errors import BenchError
from tests.bench.keys.shapes import Keys
from tests.bench.keys.store import KeyTable

RACES = 20


@dataclass(frozen=True, slots=True)
class Proof:
    """What was tried when a table was full."""

    rows: int
    refuses_oldest: bool
    """Whether the table itself refuses the first key that it ever stored."""


async def prove(
    lanes: Sequence[asyncpg.Connection], table: KeyTable, keys: Keys, rows: int
) -> Proof:
    """Count the rows, store keys again, and let two sessions race for new ones.

    Raises BenchError where a count is wrong or a key was stored twice in one window.
    """
    window = table.window(rows)
    counted = await table.count(lanes[0])
    if counted != rows:
        raise BenchError(f"{table.name} has {counted:,} rows of {rows:,}")
    oldest = await lanes[0].fetchrow(
        f"SELECT client, key FROM {table.name} ORDER BY journal_xid::text::bigint LIMIT 1"
    )
    for _ in range(RACES):
        clients, names = keys.take(1)
        tried = await asyncio.gather(
            *(_stores(lane, table, clients, names, window) for lane in lanes)
        )
        if sorted(tried) != [False] * (len(lanes) - 1) + [True]:
            raise BenchError(f"{table.name}: {sum(tried)} of {len(lanes)} sessions stored one key")
        if len(await table.find(lanes[0], clients, names)) != 1:
            raise BenchError(f"{table.name}: a stored key was not found once")
        if await _stores(lanes[0], table, clients, names, window):
            raise BenchError(f"{table.name}: a stored key was stored again")
    again = await _stores(lanes[0], table, [oldest["client"]], [oldest["key"]], window)
    return Proof(counted + RACES, not again)


async def _stores(
    lane: asyncpg.Connection, table: KeyTable, clients: list[str], names: list[str], window: int
) -> bool:
    """Whether a blind write was taken."""
    try:
        await table.write(lane, clients, names, window)
    except asyncpg.UniqueViolationError:
        return False
    return True
