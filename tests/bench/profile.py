"""Where a command worker's time goes, from cProfile, under the loads of the benchmark."""

from __future__ import annotations

import asyncio
import json
import pstats
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.bed import SUBMIT_TRANSFER, SUBMIT_TRANSFERS, Bed
from tests.bench.generators import Generator, Job
from tests.bench.hotspots import Profile, summarize
from tests.bench.lanes import Lanes
from tests.bench.load import closed_loops
from tests.bench.orders import shares
from tests.bench.own_worker import own_worker
from tests.bench.profiled_worker import STATISTICS, TIMES
from tests.bench.sizes import BATCH, BULK_CALLERS

WRITTEN_WITHIN_S = 30.0
POLL_S = 0.1

UNARY_CALLERS = 64
WARM_UP_CALLS = 500


async def profile(bed: Bed, generator: Generator) -> list[Profile]:
    """Profile one worker under bulk and under unary load.

    The stack's own command part is down meanwhile.
    """
    sizes = bed.sizes
    folder = bed.folder / "profile"
    async with own_worker(bed, "tests.bench.profiled_worker", folder) as process:
        bulk = await _profiled(
            process,
            folder,
            f"SubmitTransfers of {BATCH}, {BULK_CALLERS} callers",
            sizes.profile_bulk,
            lambda: _bulk(bed, sizes.profile_bulk),
        )
        await _unary(bed, generator, WARM_UP_CALLS)
        unary = await _profiled(
            process,
            folder,
            f"SubmitTransfer, {UNARY_CALLERS} callers",
            sizes.profile_unary,
            lambda: _unary(bed, generator, sizes.profile_unary),
        )
    return [bulk, unary]


async def _bulk(bed: Bed, transfers: int) -> None:
    calls = -(-transfers // (BATCH * BULK_CALLERS))
    requests = [bed.orders.bulks(own, calls, BATCH) for own in shares(bed.accounts, BULK_CALLERS)]
    async with Lanes(bed.endpoints.command_target, bed.tls, BULK_CALLERS) as lanes:
        await closed_loops(lanes.call(SUBMIT_TRANSFERS), requests)


async def _unary(bed: Bed, generator: Generator, calls: int) -> None:
    requests = [bed.orders.transfer(bed.accounts) for _ in range(calls)]
    target = bed.endpoints.command_target
    await generator.run(Job(target, SUBMIT_TRANSFER, requests, calls, UNARY_CALLERS))


async def _profiled(
    process: asyncio.subprocess.Process,
    folder: Path,
    load: str,
    transfers: int,
    run: Callable[[], Awaitable[None]],
) -> Profile:
    times = folder / TIMES
    times.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR1)
    await run()
    process.send_signal(signal.SIGUSR2)
    async with asyncio.timeout(WRITTEN_WITHIN_S):
        while not times.exists():
            await asyncio.sleep(POLL_S)
    statistics = pstats.Stats(str(folder / STATISTICS))
    return summarize(load, transfers, statistics.stats, json.loads(times.read_text()))  # type: ignore[attr-defined]
