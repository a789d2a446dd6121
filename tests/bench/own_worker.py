"""A command worker of the benchmark's own in the place of the stack's."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.files import tail
from deploy.local.services import service_environment
from deploy.local.state import StateFolder
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from tests.bench.bed import Bed
from tests.bench.errors import BenchError
from tests.bench.machine import ROOT

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 30.0
POLL_S = 0.1


@asynccontextmanager
async def own_worker(
    bed: Bed, module: str, folder: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m module FOLDER`, which serves as the stack's worker does; that one is down
    meanwhile. Raises BenchError where it does not start."""
    os.makedirs(folder, exist_ok=True)
    endpoints = bed.endpoints
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
    await asyncio.to_thread(bed.stack.stop_part, "command")
    try:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                str(folder),
                cwd=ROOT,
                env={**os.environ, **settings},
                stdout=output,
                stderr=output,
            )
        try:
            await _ready(bed, process, log)
            yield process
        finally:
            await _end(process)
    finally:
        await asyncio.to_thread(bed.stack.start_part, "command")


async def _end(process: asyncio.subprocess.Process) -> None:
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
    raise BenchError(f"the worker did not start: {tail(log)}")
