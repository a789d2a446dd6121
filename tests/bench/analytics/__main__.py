"""`python -m tests.bench.analytics`: fill an index, ask for every statistic, print figures."""

from __future__ import annotations

import asyncio
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from elasticsearch import AsyncElasticsearch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local import LocalStack
from paycore.domain.accounts import AccountId
from paycore.domain.grants import Reach
from paycore.domain.position import Position
from paycore.runtime.clock import SystemClock
from query_service.positions import IndexPosition, PositionTracker
from query_service.readers.elastic.analytics import ElasticAnalytics
from query_service.readers.elastic.connection import Connection
from query_service.readers.port import CounterpartyFilter, ReadTerms, Viewer, VolumeFilter
from query_service.readers.statistics import DeclineFilter, Stretch
from tests.bench.analytics.filling import DURATION_US, FIRST_ACCOUNT, PREFIX, START_US, fill
from tests.bench.analytics.ways import FILTERS, WAYS
from tests.bench.usage import Meter

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
errors = Console(stderr=True, highlight=False)
AMPLE_S = 9.0
DAY_S = 86_400
ALL = Viewer("analyst", Reach(all=True))

Asked = tuple[str, Callable[[], Awaitable[object]]]


@app.command()
def bench(
    transfers: Annotated[
        int, typer.Option(min=1_000, max=50_000_000, help="Transfers in the index.")
    ] = 200_000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often each is asked.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the random transfers.")] = 1,
) -> None:
    """Measure analytics over an index of this size, beside other ways of asking for the same.

    Starts an Elasticsearch of its own in a temporary folder. Each question differs from those
    before it, so that none is answered from a cache; all take turns.
    """
    with tempfile.TemporaryDirectory(prefix="paycore-analytics-bench-") as folder:
        # The server runs as another user when this runs as root, and must reach its folder.
        Path(folder).chmod(0o755)
        stack = LocalStack(Path(folder) / "state", parts={"elasticsearch"})
        with stack:
            uvloop.run(_measure(stack, transfers, rounds, random.Random(seed)))


async def _measure(stack: LocalStack, transfers: int, rounds: int, chance: random.Random) -> None:
    console.print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {len(os.sched_getaffinity(0))} cores,"
        f" load {os.getloadavg()[0]:.1f}, {transfers:,} transfers"
    )
    endpoints = stack.endpoints
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        request_timeout=120,
    )
    try:
        await _fill(client, transfers, chance)
        asked = [*await _statistics(client), *_ways(client)]
        meter = Meter(lambda: {"elasticsearch": stack.part_pids("elasticsearch")})
        times: dict[str, list[tuple[float, float]]] = {label: [] for label, _ in asked}
        for turn in range(rounds + 1):
            for label, ask in asked:
                errors.print(f"{turn} of {rounds}: {label}")
                meter.start()
                begun = time.perf_counter()
                await ask()
                took = (time.perf_counter() - begun) * 1e3
                # The first turn warms up.
                if turn:
                    times[label].append((took, meter.per(1).get("elasticsearch", 0.0) / 1e3))
    finally:
        await client.close()
    _show(times)


async def _fill(client: AsyncElasticsearch, transfers: int, chance: random.Random) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=errors, transient=True) as progress:
        task = progress.add_task("indexing transfers", total=transfers)
        await fill(
            client, transfers, chance, lambda number: progress.update(task, completed=number)
        )


class _Filled:
    """All that there is, is there."""

    async def read_position(self, deadline_s: float) -> IndexPosition:
        return IndexPosition(Position(1, 1, 1), SystemClock().now_us())


async def _statistics(client: AsyncElasticsearch) -> list[Asked]:
    clock = SystemClock()
    connection = Connection(client, clock)
    positions = PositionTracker(_Filled(), clock, tolerance_s=math.inf)
    await positions.poll()
    reader = ElasticAnalytics(connection, positions, PREFIX)
    asked = 0

    def fresh() -> tuple[int, ReadTerms]:
        nonlocal asked
        asked += 1
        return START_US - asked, ReadTerms(clock.monotonic_s() + AMPLE_S)

    def volume(interval_s: int, duration_us: int = DURATION_US) -> Awaitable[object]:
        start_us, terms = fresh()
        wanted = VolumeFilter(start_us, START_US + duration_us, interval_s)
        return reader.volume(wanted, ALL, terms)

    def kinds() -> Awaitable[object]:
        start_us, terms = fresh()
        return reader.kinds(Stretch(start_us, None), None, ALL, terms)

    def institutions() -> Awaitable[object]:
        start_us, terms = fresh()
        return reader.flows(Stretch(start_us, None, "JPY"), ALL, terms)

    def declines() -> Awaitable[object]:
        start_us, terms = fresh()
        return reader.declines(DeclineFilter(Stretch(start_us, None)), ALL, terms)

    def counterparties() -> Awaitable[object]:
        start_us, terms = fresh()
        account = AccountId(FIRST_ACCOUNT + asked)
        return reader.counterparties(CounterpartyFilter(account, start_us, None, 10), terms)

    return [
        ("TransferVolume by day, all", lambda: volume(DAY_S)),
        ("TransferVolume by hour, a week", lambda: volume(3_600, 7 * DAY_S * 1_000_000)),
        ("KindBreakdown, all", kinds),
        ("InstitutionPositions of one currency, 200 institutions", institutions),
        ("DeclineStatistics, all", declines),
        ("TopCounterparties of an account", counterparties),
    ]


def _ways(client: AsyncElasticsearch) -> list[Asked]:
    async def send(aggregation: dict[str, Any]) -> Any:
        reply = await client.perform_request(
            "POST",
            f"/{PREFIX}-transfers/_search?request_cache=false",
            headers={"accept": "application/json", "content-type": "application/json"},
            body={
                "size": 0,
                "track_total_hits": False,
                "query": {"bool": {"filter": FILTERS}},
                "aggs": {"0": aggregation},
            },
        )
        return reply.body["aggregations"]["0"]

    def asking(way: Callable[[Any], Any]) -> Callable[[], Awaitable[object]]:
        return lambda: asyncio.ensure_future(way(send))

    return [(f"({label})", asking(way)) for label, way in WAYS]


def _show(times: dict[str, list[tuple[float, float]]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("asked")
    for name in ("median ms", "least", "most", "processor ms of Elasticsearch"):
        table.add_column(name, justify="right")
    for label, samples in times.items():
        took, spent = zip(*samples, strict=True)
        figures = (statistics.median(took), min(took), max(took), statistics.median(spent))
        table.add_row(label, *(f"{figure:,.0f}" for figure in figures))
    console.print(table)
    console.print("in brackets: other ways of asking, not taken")


if __name__ == "__main__":
    sys.exit(app())
