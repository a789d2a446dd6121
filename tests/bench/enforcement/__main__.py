"""`python -m tests.bench.enforcement`: compare the ways, in one run, and print a table."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import psycopg
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from deploy.local import LocalStack
from deploy.local.endpoints import with_place
from operations.migrate.bootstrap import create_database, migrate
from paycore.runtime.snowflake import EPOCH_MS
from tests.bench.enforcement.variants import VARIANTS, Variant

ACCOUNTS = 5_000
BATCH = 500
LANES = 2

_LOCK = "SELECT id FROM ledger.accounts WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE"
_KEYS = (
    "SELECT used.outcome_id FROM unnest($1::text[]) AS wanted (key)"
    " JOIN ledger.idempotency_keys AS used ON used.client = 'bench' AND used.key = wanted.key"
)
_FUND = (
    "INSERT INTO ledger.accounts"
    " (id, kind, currency, owner, institution, opened_by, created_at_us, overdraft_limit)"
    f" SELECT i, 'CUSTOMER', 'EUR', 'o', 'b', 'bench', 1, 1000000000000"
    f" FROM generate_series(1, {ACCOUNTS}) AS i"
)

app = typer.Typer(add_completion=False)
console = Console()


@dataclass(slots=True)
class _Book:
    """The accounts of one lane as its batches leave them."""

    accounts: Sequence[int]
    chance: random.Random
    ids: list[int]
    figures: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def batch(self, *, with_accounts: bool) -> tuple[list[int], list[Any]]:
        """The accounts to lock, and the arguments of the statement."""
        before: dict[int, int] = {}
        rows = []
        for _ in range(BATCH):
            debit, credit = self.chance.sample(self.accounts, 2)
            amount = self.chance.randint(1, 100)
            sides = [self.figures.get(side, (0, 0, 0)) for side in (debit, credit)]
            now_us = max(sides[0][2], sides[1][2]) + 1
            for side, (_, version, _) in zip((debit, credit), sides, strict=True):
                before.setdefault(side, version)
            self.figures[debit] = (sides[0][0] - amount, sides[0][1] + 1, now_us)
            self.figures[credit] = (sides[1][0] + amount, sides[1][1] + 1, now_us)
            rows.append(
                (
                    self._next(), debit, credit, amount, sides[0][1] + 1, sides[1][1] + 1,
                    sides[0][0] - amount, sides[1][0] + amount, now_us,
                    self.chance.randbytes(16).hex(), self.chance.randbytes(16),
                )
            )  # fmt: skip
        arguments: list[Any] = [list(column) for column in zip(*rows, strict=True)]
        arguments.append(self._next())
        if with_accounts:
            after = [self.figures[side] for side in before]
            arguments += [
                list(before), list(before.values()), [one[0] for one in after],
                [one[1] for one in after], [one[2] for one in after],
            ]  # fmt: skip
        return list(before), arguments

    def _next(self) -> int:
        self.ids[0] += 1
        return self.ids[0]


async def _lane(dsn: str, variant: Variant, batches: Sequence[tuple[list[int], list[Any]]]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        lock, keys = await connection.prepare(_LOCK), await connection.prepare(_KEYS)
        write = await connection.prepare(variant.statement)
        for accounts, arguments in batches:
            async with connection.transaction():
                await lock.fetch(accounts)
                await keys.fetch(arguments[9])
                await write.fetchval(*arguments)
    finally:
        await connection.close()


async def _measure(dsn: str, variant: Variant, books: Sequence[_Book], batches: int) -> float:
    """Transfers per second, LANES batches in flight over disjoint accounts."""
    work = [
        [book.batch(with_accounts=variant.sends_accounts) for _ in range(batches)] for book in books
    ]
    began = time.perf_counter()
    await asyncio.gather(*(_lane(dsn, variant, part) for part in work))
    return len(books) * batches * BATCH / (time.perf_counter() - began)


def _prepare(admin_dsn: str, variant: Variant) -> str:
    create_database(admin_dsn, variant.name)
    migrate(admin_dsn, variant.name)
    dsn = with_place(admin_dsn, database=variant.name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_FUND)
        if variant.setup:
            connection.execute(variant.setup.encode())
    return dsn


@app.command()
def compare(
    batches: Annotated[int, typer.Option(min=1, help="Batches of 500 a lane and round.")] = 60,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds over all ways, in turn.")] = 5,
) -> None:
    """Post the same load in each way, round by round, and compare."""
    rates: dict[str, list[float]] = {variant.name: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory(prefix="paycore-bench-") as folder:
        stack = LocalStack(Path(folder), processes=1, parts=frozenset({"postgres"}), schema=True)
        stack.start()
        try:
            admin_dsn = stack.endpoints.postgres_admin_dsn
            beds = [(variant, _prepare(admin_dsn, variant), _books()) for variant in VARIANTS]
            for number in range(rounds + 1):
                for variant, dsn, books in beds:
                    rate = uvloop.run(_measure(dsn, variant, books, batches))
                    # The first round is for warming up.
                    if number:
                        rates[variant.name].append(rate)
                        console.print(f"round {number}: {variant.name} {rate:,.0f}/s")
        finally:
            stack.stop()
    table = Table("way", "", "median /s", "least", "most", "to unguarded")
    baseline = statistics.median(rates["unguarded"])
    for variant in VARIANTS:
        found = rates[variant.name]
        median = statistics.median(found)
        table.add_row(
            variant.name, variant.explained, f"{median:,.0f}", f"{min(found):,.0f}",
            f"{max(found):,.0f}", f"{median / baseline:.2f}",
        )  # fmt: skip
    console.print(table)


def _books() -> list[_Book]:
    ids = [(time.time_ns() // 1_000_000 - EPOCH_MS) << 22]
    chance = random.Random(7)  # the same load for each way
    share = ACCOUNTS // LANES
    return [
        _Book(range(1 + lane * share, 1 + (lane + 1) * share), chance, ids) for lane in range(LANES)
    ]


if __name__ == "__main__":
    app()
