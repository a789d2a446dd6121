"""Where a command worker's time goes, from cProfile, under the loads of the benchmark."""

from __future__ import annotations

import asyncio
import json
import os
import pstats
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.files import tail
from deploy.local.services import service_environment
from deploy.local.state import StateFolder
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from tests.bench.bed import SUBMIT_TRANSFER, SUBMIT_TRANSFERS, Bed
from tests.bench.errors import BenchError
from tests.bench.generators import Generator, Job
from tests.bench.hotspots import Profile, summarize
from tests.bench.lanes import Lanes
from tests.bench.load import closed_loops
from tests.bench.machine import ROOT
from tests.bench.orders import shares
from tests.bench.profiled_worker import STATISTICS, TIMES
from tests.bench.sizes import BATCH, BULK_CALLERS

READY_WITHIN_S = 60.0
WRITTEN_WITHIN_S = 30.0
STOPPED_WITHIN_S = 30.0
POLL_S = 0.1

UNARY_CALLERS = 64
WARM_UP_CALLS = 500


async def profile(bed: Bed, generator: Generator) -> list[Profile]:
    """Profile one worker under bulk and under unary load.

    The stack's own command part is down meanwhile.
    """
    sizes = bed.sizes
    await asyncio.to_thread(bed.stack.stop_part, "command")
    try:
        async with _worker(bed) as (process, folder):
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
    finally:
        await asyncio.to_thread(bed.stack.start_part, "command")
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


@asynccontextmanager
async def _worker(bed: Bed) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """A worker under cProfile in the place of the stack's, and the folder that it writes to."""
    endpoints = bed.endpoints
    folder = bed.folder / "profile"
    folder.mkdir(exist_ok=True)
    (metrics_url, *_) = endpoints.metrics_urls["command"]
    settings = service_environment(
        "command",
        StateFolder(endpoints.state),
        endpoints,
        1,
        metrics_url.removeprefix("http://").removesuffix("/metrics"),
        {},
    )
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.bench.profiled_worker",
            str(folder),
            cwd=ROOT,
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
        )
    try:
        await _ready(bed, process, log)
        yield process, folder
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOPPED_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(bed: Bed, process: asyncio.subprocess.Process, log: Path) -> None:
    request = health_pb2.HealthCheckRequest()
    async with open_channel(
        bed.endpoints.command_target, bed.tls, SEPARATE_CONNECTION, service="command"
    ) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for _ in range(int(READY_WITHIN_S / POLL_S)):
            if process.returncode is not None:
                break
            try:
                reply = await health.Check(request, timeout=POLL_S)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(POLL_S)
                continue
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                return
            await asyncio.sleep(POLL_S)
    raise BenchError(f"the profiled worker did not start: {tail(log)}")
