"""Echo servers on one port, as many processes as asked for."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from deploy.local.ports import LOOPBACK
from paycore.bench.v1 import echo_pb2
from paycore.runtime.tls import TlsFiles
from tests.bench.errors import BenchError

ECHO = "/paycore.bench.v1.EchoService/Echo"
EMPTY = echo_pb2.EchoRequest()

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LISTENING = b"listening"
"""What a server prints when it does."""


@dataclass(frozen=True, slots=True)
class EchoServers:
    """Running echo servers."""

    target: str
    pids: tuple[int, ...]

    @property
    def processes(self) -> int:
        return len(self.pids)


@asynccontextmanager
async def echo_servers(processes: int, tls: TlsFiles) -> AsyncIterator[EchoServers]:
    """Run `processes` echo servers on one loopback port. Raises BenchError."""
    with socket.socket() as claim:
        # Held open, never listening: the servers bind beside it, and nobody else can.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        claim.bind((LOOPBACK, 0))
        target = f"{LOOPBACK}:{claim.getsockname()[1]}"
        started: list[asyncio.subprocess.Process] = []
        try:
            for _ in range(processes):
                started.append(
                    await asyncio.create_subprocess_exec(
                        sys.executable,
                        "-m",
                        "tests.bench.echo_server",
                        f"--listen={target}",
                        f"--certificate={tls.certificate}",
                        f"--key={tls.key}",
                        f"--ca={tls.ca}",
                        stdout=asyncio.subprocess.PIPE,
                    )
                )
            for process in started:
                await _listening(process)
            yield EchoServers(target, tuple(process.pid for process in started))
        finally:
            await asyncio.gather(*(_end(process) for process in started))


async def _listening(process: asyncio.subprocess.Process) -> None:
    """Wait until a server says that it listens."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            said = await process.stdout.readline()
    except TimeoutError as error:
        raise BenchError("an echo server did not start in time") from error
    if said.strip() != LISTENING:
        raise BenchError("an echo server did not start")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
