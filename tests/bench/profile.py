"""Where a command worker's time goes, from cProfile, under the loads of the benchmark.

cProfile makes Python calls dearer and C code not, so shares say more than figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import pstats
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
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

TRANSPORT = "event loop, gRPC core and TLS"
OTHER_THREADS = "gRPC's other threads"

# The first that a file's path contains names its group.
GROUPS = (
    ("command_service/servicers/", "servicer: parse, reply"),
    ("command_service/admission/", "admission"),
    ("command_service/posting/engine", "engine: queue, batches"),
    ("command_service/posting/", "rows and queries"),
    ("command_service/transactions", "rows and queries"),
    ("database/__init__", "rows and queries"),
    ("paycore/domain/", "domain: planning, hashes"),
    ("paycore/runtime/server", "gate: identity, access, deadline, mapping"),
    ("paycore/runtime/access", "gate: identity, access, deadline, mapping"),
    ("paycore/runtime/tls", "gate: identity, access, deadline, mapping"),
    ("paycore/runtime/limits", "rate limit, with redis-py"),
    ("/redis/", "rate limit, with redis-py"),
    ("paycore/runtime/snowflake", "ids"),
    ("/snowflake/", "ids"),
    ("prometheus_client/", "metrics"),
    ("/asyncpg/", "asyncpg"),
    ("/asyncio/", "asyncio"),
    ("/google/", "protobuf"),
    ("/grpc/", "grpc's Python code"),
)
OTHER = "other Python code"

Function = tuple[str, int, str]
"""File, line and name, as pstats has them; the file is `~` for C functions."""


@dataclass(frozen=True, slots=True)
class Share:
    """One group of code, or one function."""

    name: str
    percent: float
    """Of the process's processor time."""
    each_us: float
    """Microseconds per transfer, profiler's cost included."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One load's profile."""

    load: str
    transfers: int
    groups: tuple[Share, ...]
    functions: tuple[Share, ...]
    """The dearest, without what they call."""


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


def summarize(
    load: str,
    transfers: int,
    functions: Mapping[
        Function, tuple[int, int, float, float, Mapping[Function, tuple[int, int, float, float]]]
    ],
    times: Mapping[str, float],
) -> Profile:
    """Sort a profile's own times into groups.

    `functions` are pstats' entries. A C function counts to the group that calls it, protobuf's to
    protobuf. What the loop's thread computed outside any Python function is the transport.
    """
    groups: defaultdict[str, float] = defaultdict(float)
    for function, (_, _, own_s, _, callers) in functions.items():
        if function[0] != "~" or _is_protobuf(function):
            groups[group_of(function)] += own_s
            continue
        called_s = 0.0
        for caller, (_, _, part_s, _) in callers.items():
            groups[group_of(caller)] += part_s
            called_s += part_s
        groups[TRANSPORT] += own_s - called_s
    groups[TRANSPORT] += max(0.0, times["loop_s"] - sum(groups.values()))
    groups[OTHER_THREADS] = max(0.0, times["process_s"] - times["loop_s"])
    whole_s = sum(groups.values())

    def share(name: str, seconds: float) -> Share:
        return Share(name, 100 * seconds / whole_s, seconds * 1e6 / transfers)

    dearest = sorted(functions.items(), key=lambda item: -item[1][2])[:15]
    return Profile(
        load,
        transfers,
        tuple(
            share(name, seconds)
            for name, seconds in sorted(groups.items(), key=lambda item: -item[1])
            if seconds > 0
        ),
        tuple(share(_name(function), entry[2]) for function, entry in dearest),
    )


def group_of(function: Function) -> str:
    """The group that a function's own time belongs to."""
    path, _, name = function
    if _is_protobuf(function):
        return "protobuf"
    if path == "~":
        return TRANSPORT if "grpc" in name else OTHER
    return next((group for part, group in GROUPS if part in path), OTHER)


def _is_protobuf(function: Function) -> bool:
    return function[0] == "~" and "google._upb" in function[2]


def _name(function: Function) -> str:
    path, line, name = function
    return name if path == "~" else f"{'/'.join(Path(path).parts[-2:])}:{line} {name}"


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
    async with open_channel(bed.endpoints.command_target, bed.tls, SEPARATE_CONNECTION) as channel:
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
