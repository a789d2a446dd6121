"""The measurement of idempotency keys, in small: its figures are those of what it did."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from tests.bench.errors import BenchError
from tests.bench.keys.layouts import SCHEMA, Layout, prepare
from tests.bench.keys.measure import BATCH, SLICES, Result, Run
from tests.bench.keys.proof import RACES, prove
from tests.bench.keys.report import HEADER, Report, markdown
from tests.bench.keys.shapes import CLIENTS, Keys, Shape
from tests.bench.keys.store import KeyTable
from tests.support.databases import OwnDatabase

ROWS = 20_000
ALL = [(layout, shape) for shape in Shape for layout in Layout]
RUN = [*((layout, Shape.RANDOM) for layout in Layout), (Layout.LOCATOR, Shape.ORDERED)]


@pytest.fixture
async def lanes(database: OwnDatabase) -> AsyncIterator[list[asyncpg.Connection]]:
    """Two sessions on a database with the measurement's schema."""
    await prepare(database.admin_dsn)
    opened = [await asyncpg.connect(database.admin_dsn) for _ in range(2)]
    yield opened
    for one in opened:
        await one.close()


async def measured(database: OwnDatabase, rng: random.Random) -> tuple[Sequence[Result], int]:
    """A whole run over all layouts and shapes; and the rows that it told to have stored."""
    await prepare(database.admin_dsn)
    told: list[int] = []
    run = Run(database.admin_dsn, ROWS, lambda _, rows: told.append(rows))
    tables = [(KeyTable(layout, shape, ROWS), Keys(shape, rng)) for layout, shape in RUN]
    return await run.measure(tables), sum(told)


async def test_a_run_stores_what_it_says_in_every_layout(
    database: OwnDatabase, rng: random.Random
) -> None:
    results, told = await measured(database, rng)
    assert [(one.table.layout, one.table.shape) for one in results] == RUN
    assert told == ROWS * len(RUN)
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        for one in results:
            rows, clients, keys = await connection.fetchrow(
                "SELECT count(*), count(DISTINCT client), count(DISTINCT (client, key))"
                f" FROM {one.table.name}"
            )
            again = 0 if one.proof.refuses_oldest else 1
            assert (rows, clients, keys) == (ROWS + RACES + again, CLIENTS, ROWS + RACES)
            assert one.proof.rows == ROWS + RACES
            for phase in (one.start, one.end):
                assert len(phase) == SLICES
                assert sum(turn.rows for turn in phase) == ROWS // 10
                assert all(len(turn.find_s) * BATCH == turn.rows for turn in phase)
                # A row with its index entry is never written in fewer bytes than it holds.
                assert all(turn.wal_bytes > 100 * turn.rows for turn in phase)
            index = await connection.fetchval(
                "SELECT sum(pg_relation_size(indexrelid)) FROM pg_index WHERE indrelid IN ("
                f" SELECT '{one.table.name}'::regclass::oid UNION ALL"
                f" SELECT inhrelid FROM pg_inherits WHERE inhparent = '{one.table.name}'::regclass)"
            )
            assert one.sizes.index == index
            assert one.sizes.table > 100 * ROWS
    finally:
        await connection.close()
    # Windows keep a key unique in one of them, every other layout for ever.
    assert {one.table.layout for one in results if not one.proof.refuses_oldest} == {Layout.WINDOWS}
    narrow = {one.table.layout: one.sizes.index for one in results if one.table.shape == "random"}
    assert narrow[Layout.DIGEST] < narrow[Layout.LOCATOR] < narrow[Layout.SINGLE]
    table = markdown(Report("command", "date", {"cores": "2"}, results)).splitlines()
    assert len(table) == 4 + 2 + len(RUN)
    assert table[4].count("|") == len(HEADER) + 1


@pytest.mark.parametrize(("layout", "shape"), ALL)
async def test_of_sessions_that_store_one_key_at_once_one_succeeds(
    lanes: list[asyncpg.Connection], rng: random.Random, layout: Layout, shape: Shape
) -> None:
    table, keys = KeyTable(layout, shape, ROWS), Keys(shape, rng)
    await table.create(lanes[0])
    clients, names = keys.take(1)
    first = lanes[0].transaction()
    await first.start()
    await table.write(lanes[0], clients, names, 0)
    second = asyncio.create_task(table.write(lanes[1], clients, names, 0))
    await asyncio.sleep(0.1)
    # It waits for the other to end.
    assert not second.done()
    await first.commit()
    with pytest.raises(asyncpg.UniqueViolationError):
        await second
    assert len(await table.find(lanes[1], clients, names)) == 1


@pytest.mark.parametrize("layout", list(Layout))
async def test_a_table_that_stores_a_key_twice_is_found_out(
    lanes: list[asyncpg.Connection], rng: random.Random, layout: Layout
) -> None:
    table, keys = KeyTable(layout, Shape.RANDOM, ROWS), Keys(Shape.RANDOM, rng)
    await table.create(lanes[0])
    await table.fill(lanes[0], keys, 1_000)
    for index in await lanes[0].fetch(
        f"SELECT indexname FROM pg_indexes WHERE schemaname = '{SCHEMA}'"
    ):
        await lanes[0].execute(f"DROP INDEX {SCHEMA}.{index['indexname']}")
    with pytest.raises(BenchError, match="2 of 2 sessions stored one key"):
        await prove(lanes, table, keys, 1_000)


async def test_a_table_that_lost_a_row_is_found_out(
    lanes: list[asyncpg.Connection], rng: random.Random
) -> None:
    table, keys = KeyTable(Layout.SINGLE, Shape.RANDOM, ROWS), Keys(Shape.RANDOM, rng)
    await table.create(lanes[0])
    await table.fill(lanes[0], keys, 1_000)
    with pytest.raises(BenchError, match="1,000 rows of 1,001"):
        await prove(lanes, table, keys, 1_001)


@pytest.mark.parametrize("shape", list(Shape))
async def test_keys_made_by_the_server_are_like_those_made_here(
    lanes: list[asyncpg.Connection], rng: random.Random, shape: Shape
) -> None:
    table, keys = KeyTable(Layout.SINGLE, shape, ROWS), Keys(shape, rng)
    await table.create(lanes[0])
    clients, names = keys.take(500)
    await table.write(lanes[0], clients, names, 0)
    await table.fill(lanes[0], keys, 1_500)
    assert keys.made == 2_000
    version = {Shape.RANDOM: "4", Shape.ORDERED: "7"}[shape]
    pattern = (
        f"^[0-9a-f]{{8}}-[0-9a-f]{{4}}-{version}[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}$"
    )
    assert await lanes[0].fetchval(
        f"SELECT count(*) FROM {table.name} WHERE key ~ $1", pattern
    ) == (2_000)
    by_key = await lanes[0].fetch(
        f"SELECT outcome_id FROM {table.name} WHERE journal_id > 1 ORDER BY key"
    )
    numbers = [row["outcome_id"] for row in by_key]
    # Two keys a millisecond, late by up to 250 ms.
    in_order = all(abs(number - 500 - place) <= 600 for place, number in enumerate(numbers))
    assert in_order == (shape is Shape.ORDERED)
