"""`python -m tests.bench.stream`: stream a ledger, and see what each event costs and takes up."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import psutil
import redis.asyncio as redis
import typer
import uvloop
from rich.console import Console

from deploy.local import LocalStack
from paycore.domain.stream import DEFAULT_PREFIX, stream_key
from paycore.runtime.clock import SystemClock
from projector.dead_letters import DeadLetters
from projector.leadership import connection
from projector.readiness import Readiness
from projector.sinks import Session
from projector.sinks.stream import NAME, StreamSettings, StreamSink
from projector.source import JournalSource
from tests.support.bulk_ledger import BulkLedger
from tests.support.databases import OwnDatabase, own_database, prepare_template

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(highlight=False, soft_wrap=True)


@app.command()
def bench(
    transfers: Annotated[int, typer.Option(min=1_000, max=5_000_000)] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 3,
) -> None:
    """Measure on a PostgreSQL and a Redis of its own."""
    with tempfile.TemporaryDirectory(prefix="paycore-stream-bench-") as folder:
        # The servers run as another user when this runs as root, and must reach their folder.
        Path(folder).chmod(0o755)
        stack = LocalStack(Path(folder) / "state", parts={"postgres", "redis"}, schema=True)
        endpoints = stack.start()
        try:
            with own_database(endpoints, prepare_template(endpoints)) as own:
                uvloop.run(_measure(own, stack, transfers, rounds))
        finally:
            stack.stop()


async def _measure(own: OwnDatabase, stack: LocalStack, transfers: int, rounds: int) -> None:
    console.print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {len(os.sched_getaffinity(0))} cores,"
        f" load {os.getloadavg()[0]:.1f}"
    )
    writer = await asyncpg.connect(own.admin_dsn)
    ledger = await BulkLedger.open(writer, transfers)
    await ledger.fill(transfers - ledger.written)
    await writer.execute("VACUUM (ANALYZE)")
    servers = {name: psutil.Process(stack.part_pids(name)[0]) for name in ("postgres", "redis")}
    url = stack.endpoints.redis_url
    async with redis.Redis.from_url(url, protocol=2) as client:
        for _ in range(rounds):
            await client.flushall()
            await writer.execute("DELETE FROM projection.checkpoints")
            empty: Any = await client.info("memory")
            began_s, here_s = time.monotonic(), time.process_time()
            before = {name: _busy_s(server) for name, server in servers.items()}
            await _stream(own, url, ledger.written)
            wall_s, here_s = time.monotonic() - began_s, time.process_time() - here_s
            await asyncio.sleep(0.3)
            spent = {name: _busy_s(server) - before[name] for name, server in servers.items()}
            full: Any = await client.info("memory")
            events = await client.xlen(stream_key(DEFAULT_PREFIX, 1))
            size = (full["used_memory"] - empty["used_memory"]) / events
            there = ", ".join(f"{s * 1e6 / events:.1f} us in {name}" for name, s in spent.items())
            console.print(
                f"{events:,} events: {events / wall_s:,.0f}/s; {here_s * 1e6 / events:.1f} us here,"
                f" {there}; {size:.0f} bytes each"
            )
    await writer.close()


async def _stream(own: OwnDatabase, url: str, entries: int) -> None:
    clock = SystemClock()
    dsn = own.dsn("projector")
    async with connection(dsn, "bench") as held, connection(dsn, "bench") as reading:
        sink = StreamSink(
            StreamSettings(url, DEFAULT_PREFIX, 2 * entries),
            clock,
            Readiness(NAME),
            random.Random(1),
        )
        dead_letters = DeadLetters(held, NAME, limit=0)
        position = await sink.start(
            Session(1, held, dead_letters, partial(connection, dsn, "bench"))
        )
        source = JournalSource(
            reading, sink.decoder(reading), clock, sink=NAME, epoch=1, page_entries=4_000
        )
        while (batch := await source.read(position)).written_us:
            await sink.accept(batch)
            position = batch.position
        await sink.stop()


def _busy_s(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


if __name__ == "__main__":
    app()
