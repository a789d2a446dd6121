"""A command service of a test's own: the real process, with settings that the test chooses."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local import Endpoints
from deploy.local.ports import PortClaims
from deploy.local.services import CHECKOUT, service_environment
from deploy.local.state import StateFolder

START_WITHIN_S = 120.0
MODULE = ("command_service",)


@asynccontextmanager
async def command_process(
    endpoints: Endpoints, log: Path, *, module: Sequence[str] = MODULE, **settings: str
) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its host:port and the process; `settings` are PAYCORE_COMMAND_* without the prefix.

    With LISTEN it shares the port of another. `module` is what Python runs, and its arguments.
    """
    claims = PortClaims()
    processes = int(settings.get("PROCESSES", "1"))
    (port,), (metrics, *_) = claims.claim(), claims.claim(processes)
    target = settings.get("LISTEN", f"127.0.0.1:{port}")
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
            [sys.executable, "-m", *module],
            cwd=CHECKOUT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        await _until_serving(process, log, processes)
        yield target, process
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 30)
        finally:
            process.kill()
            process.wait()
            claims.release()


async def _until_serving(process: subprocess.Popen[bytes], log: Path, processes: int) -> None:
    # Not by health: on a port that is shared another process may answer.
    async with asyncio.timeout(START_WITHIN_S):
        while (said := await asyncio.to_thread(log.read_bytes)).count(b"serving") < processes:
            assert process.poll() is None, said.decode()
            await asyncio.sleep(0.05)
