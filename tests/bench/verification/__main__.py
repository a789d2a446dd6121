"""`python -m tests.bench.verification`: fill a ledger, verify it whole and since, print figures."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import asyncpg
import psycopg
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.local import Endpoints, LocalStack
from operations.verify import Report, verify_ledger
from operations.verify.scope import Last, Since
from operations.views.verification import report_text
from tests.support.bulk_ledger import BulkLedger
from tests.support.databases import OwnDatabase, own_database, prepare_template

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
SINCE_SHARE = 100
"""One in so many transfers is written after the first verification, for the second."""


@app.command()
def bench(
    transfers: Annotated[
        int, typer.Option(min=1_000, max=50_000_000, help="Transfers in the ledger.")
    ] = 1_000_000,
) -> None:
    """Measure `paycore verify` on a ledger of this size, whole and since the last verification.

    Starts a PostgreSQL of its own in a temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="paycore-verify-bench-") as folder:
        # The server runs as another user when this runs as root, and must reach its folder.
        Path(folder).chmod(0o755)
        stack = LocalStack(Path(folder) / "state", parts={"postgres"}, schema=True)
        endpoints = stack.start()
        try:
            with own_database(endpoints, prepare_template(endpoints)) as database:
                held = uvloop.run(_measure(database, endpoints, transfers))
        finally:
            stack.stop()
    if not held:
        raise typer.Exit(1)


async def _measure(database: OwnDatabase, endpoints: Endpoints, transfers: int) -> bool:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    console.print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {len(os.sched_getaffinity(0))} cores,"
        f" {memory_gib:.0f} GiB, load {os.getloadavg()[0]:.1f}"
    )
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        ledger = await BulkLedger.open(connection, transfers)
        await _fill(ledger, transfers - ledger.written)
        await connection.execute("VACUUM (ANALYZE)")
        held = await _verify(database, "whole", None, ledger.written)
        before = ledger.written
        await _fill(ledger, max(100, transfers // SINCE_SHARE))
        held &= await _verify(database, "since the last", Last(), ledger.written - before)
    finally:
        await connection.close()
    return held


async def _fill(ledger: BulkLedger, transfers: int) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    began = time.monotonic()
    with Progress(*columns, TimeElapsedColumn(), console=errors, transient=True) as progress:
        start = ledger.written
        task = progress.add_task("writing transfers", total=transfers)
        await ledger.fill(
            transfers, lambda written: progress.update(task, completed=written - start)
        )
    console.print(f"wrote {ledger.written - start:,} transfers in {time.monotonic() - began:.1f} s")


async def _verify(database: OwnDatabase, name: str, since: Since, transfers: int) -> bool:
    spilled = await asyncio.to_thread(_temp_bytes, database)
    began = time.monotonic()
    report: Report = await verify_ledger(database.dsn("audit"), since=since)
    took_s = time.monotonic() - began
    # The sessions tell the statistics what they wrote when they end.
    await asyncio.sleep(1.0)
    spilled = await asyncio.to_thread(_temp_bytes, database) - spilled
    console.print(report_text(report, took_s))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(
        f"{name}: {transfers:,} transfers in {took_s:.1f} s,"
        f" {transfers / took_s * 60:,.0f} a minute; client's peak memory {peak_mib:.0f} MiB;"
        f" temporary files of the server {spilled / 2**20:,.0f} MiB"
    )
    return report.held


def _temp_bytes(database: OwnDatabase) -> int:
    with psycopg.connect(database.admin_dsn) as connection:
        row = connection.execute(
            "SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    sys.exit(app())
