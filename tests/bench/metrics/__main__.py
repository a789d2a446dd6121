"""`python -m tests.bench.metrics`: what metrics cost a payment, told in two ways.

Both are processor time of the worker, which a busy machine disturbs far less than it does rates.
The first alternates, on one worker under the same load, between metrics on and off, and compares
each pair of rounds: it has everything in it, and the noise of a machine with others on it. The
second counts the calls that a payment makes to metrics, and times each kind of call by itself; by
it the command judges, since the first sees nothing smaller than what its quartiles show.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast

import typer
import uvloop
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from rich.console import Console

from command_service.posting import metrics as posting
from deploy.local import ALL_PARTS, LocalStack
from paycore.domain.transfers import Posted, Transfer, Visibility
from paycore.runtime.metrics import LATENCY_BUCKETS_S
from tests.bench import machine
from tests.bench.bed import READ_SIDE, SUBMIT_TRANSFER, Bed, open_bed
from tests.bench.lanes import Lanes
from tests.bench.load import shared_loops
from tests.bench.metrics.switch import Mode
from tests.bench.metrics.worker import SAID
from tests.bench.own_worker import own_worker
from tests.bench.sizes import QUICK

CALLERS = 64
CONNECTIONS = 8
WARM_UP_CALLS = 2_000
TIMED_CALLS = 200_000
TIMED_ROUNDS = 5
MOST_SHARE = 0.05
"""Of a payment's processor time; beyond it the command ends with 1."""

GATHERING = ("metrics.count", "metrics.started")
BATCH = 8
"""Payments in a batch of which gathering is timed; what it calls is counted beside it too."""

LOOKS = 2.0
"""Looks at the clock that a call makes for its histogram."""

WITHIN_S = 10.0

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(highlight=False, soft_wrap=True)


@app.command()
def bench(
    pairs: Annotated[int, typer.Option(min=2, help="Rounds on and off, two each in turn.")] = 12,
    calls: Annotated[int, typer.Option(min=500, help="Payments in each round.")] = 2_000,
) -> None:
    """Measure what metrics cost SubmitTransfer, on a stack without its read side."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="paycore-metrics-bench-") as folder:
        # The stores run as another user when this runs as root, and must reach their folders.
        Path(folder).chmod(0o755)
        stack = LocalStack(Path(folder) / "state", processes=1, parts=ALL_PARTS - set(READ_SIDE))
        with stack:
            share = uvloop.run(_measure(stack, Path(folder), pairs, calls))
    raise typer.Exit(int(share > MOST_SHARE))


async def _measure(stack: LocalStack, folder: Path, pairs: int, calls: int) -> float:
    sizes = replace(QUICK, accounts=1_000)
    about = await machine.describe(stack.endpoints, stack.parts)
    told = "; ".join(f"{name} {value}" for name, value in about.items())
    console.print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {told}")
    async with (
        open_bed(stack, sizes, 1, folder, random.Random(1)) as bed,
        own_worker(bed, "tests.bench.metrics.worker", folder / "worker") as process,
    ):
        rounds = _Rounds(bed, process, folder / "worker")
        await rounds.spend_us(WARM_UP_CALLS)
        ratios, on_us = await rounds.compare(pairs, calls)
        counted = await rounds.count(calls)
    lower, middle, upper = statistics.quantiles(ratios, n=4)
    console.print(
        f"processor time of the worker: {on_us:.1f} us a payment ({CALLERS} callers);"
        f" metrics on : off = {middle:.4f} (quartiles {lower:.4f} to {upper:.4f},"
        f" {pairs} pairs of {calls:,} payments)"
    )
    costs = _costs_us()
    each_us = sum(costs[name] * times for name, times in counted.items())
    for name, times in sorted(counted.items(), key=lambda one: -costs[one[0]] * one[1]):
        console.print(f"  {name:<18}{times:6.2f} a payment at {costs[name]:5.2f} us")
    share = each_us / on_us
    console.print(f"metrics: {each_us:.1f} us a payment, {share:.1%} of its time")
    return share


class _Rounds:
    """Rounds of payments on one worker."""

    def __init__(self, bed: Bed, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._bed = bed
        self._process = process
        self._said = folder / SAID
        self._mode = Mode.ON

    async def compare(self, pairs: int, calls: int) -> tuple[list[float], float]:
        """On over off of each pair, and the middle of what a payment took on, in microseconds."""
        ratios, on_us = [], []
        for number in range(pairs):
            # On first, then off first: what drifts favours neither.
            first, second = (Mode.ON, Mode.OFF) if number % 2 == 0 else (Mode.OFF, Mode.ON)
            spent = {}
            for mode in (first, second):
                await self._until(mode)
                spent[mode] = await self.spend_us(calls)
            ratios.append(spent[Mode.ON] / spent[Mode.OFF])
            on_us.append(spent[Mode.ON])
        return ratios, statistics.median(on_us)

    async def count(self, calls: int) -> Mapping[str, float]:
        """Calls to metrics a payment, by what is called."""
        await self._until(Mode.COUNTED)
        await self.spend_us(calls)
        said = await self._turn()
        # What gathers is called once a batch: it is charged to each payment as its part of one.
        samples = {
            name: times / calls for name, times in said["calls"].items() if name not in GATHERING
        }
        return {**samples, **dict.fromkeys(GATHERING, 1.0), "perf_counter": LOOKS}

    async def spend_us(self, calls: int) -> float:
        """Processor time that the worker spends on each of `calls` payments, in microseconds."""
        bed = self._bed
        requests = [bed.orders.transfer(bed.accounts).SerializeToString() for _ in range(calls)]
        async with Lanes(bed.endpoints.command_target, bed.tls, CONNECTIONS) as lanes:
            before_ns = _computed_ns(self._process.pid)
            await shared_loops(lanes.call(SUBMIT_TRANSFER), requests, CALLERS)
            return (_computed_ns(self._process.pid) - before_ns) / calls / 1_000

    async def _until(self, mode: Mode) -> None:
        while self._mode is not mode:
            await self._turn()

    async def _turn(self) -> dict[str, Mapping[str, int]]:
        self._said.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(WITHIN_S):
            while not self._said.exists():
                await asyncio.sleep(0.01)
        said: dict[str, Mapping[str, int]] = json.loads(self._said.read_text())
        self._mode = Mode(str(said["mode"]))
        return said


def _computed_ns(pid: int) -> int:
    """Processor time of all threads of `pid`, in nanoseconds (proc(5), schedstat)."""
    return sum(
        int((thread / "schedstat").read_text().split()[0])
        for thread in Path(f"/proc/{pid}/task").iterdir()
    )


def _costs_us() -> Mapping[str, float]:
    """Of one call of each kind, in microseconds of processor time."""
    registry = CollectorRegistry()
    counter = Counter("bench_counter", "Of a bench.", ["reason"], registry=registry)
    gauge = Gauge("bench_gauge", "Of a bench.", registry=registry)
    histogram = Histogram(
        "bench_histogram", "Of a bench.", registry=registry, buckets=LATENCY_BUCKETS_S
    )
    bound = counter.labels("OK")
    # Nothing but its kind is looked at.
    outcomes = [Posted(cast("Transfer", None), None, cast("Visibility", None))] * BATCH
    queued = [_Queued()] * BATCH
    return {
        "Counter.inc": _cost_us(bound.inc),
        "Gauge.inc": _cost_us(gauge.inc),
        "Gauge.dec": _cost_us(gauge.dec),
        "Gauge.set": _cost_us(lambda: gauge.set(1)),
        "Histogram.observe": _cost_us(lambda: histogram.observe(0.02)),
        "labels": _cost_us(lambda: counter.labels("OK")),
        "metrics.count": _cost_us(lambda: posting.count(outcomes)) / BATCH,
        "metrics.started": _cost_us(lambda: posting.started(queued, 2.0)) / BATCH,
        "perf_counter": _cost_us(time.perf_counter),
    }


@dataclass(frozen=True, slots=True)
class _Queued:
    since_s: float = 1.0


def _cost_us(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(TIMED_ROUNDS):
        began_s = time.process_time()
        for _ in range(TIMED_CALLS):
            call()
        taken.append((time.process_time() - began_s) / TIMED_CALLS * 1e6)
    return min(taken)


if __name__ == "__main__":
    app()
