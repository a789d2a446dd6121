"""A command service of a test's own: the real process, with settings that the test chooses."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import Endpoints
from deploy.local.ports import PortClaims
from deploy.local.services import CHECKOUT, service_environment
from deploy.local.state import StateFolder
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel

START_WITHIN_S = 60.0


@asynccontextmanager
async def command_process(
    endpoints: Endpoints, log: Path, **settings: str
) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its host:port and the process; `settings` are PAYCORE_COMMAND_* without the prefix."""
    claims = PortClaims()
    (port,), (metrics,) = claims.claim(), claims.claim()
    target = f"127.0.0.1:{port}"
    environment = service_environment(
        "command",
        StateFolder(endpoints.state),
        endpoints,
        1,
        f"127.0.0.1:{metrics}",
        {"LISTEN": target, **settings},
    )
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220  # begins at once, ends in a thread
            [sys.executable, "-m", "command_service"],
            cwd=CHECKOUT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        await _until_serving(endpoints, target)
        yield target, process
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 30)
        finally:
            process.kill()
            process.wait()
            claims.release()


async def _until_serving(endpoints: Endpoints, target: str) -> None:
    async with (
        asyncio.timeout(START_WITHIN_S),
        open_channel(target, endpoints.tls["operator"], SEPARATE_CONNECTION) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            reply = await stub.Check(
                health_pb2.HealthCheckRequest(), timeout=START_WITHIN_S, wait_for_ready=True
            )
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                return
            await asyncio.sleep(0.05)
