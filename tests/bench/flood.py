"""Another client's flood, from a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from paycore.runtime.tls import TlsFiles
from tests.bench.errors import BenchError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
FLOODING = b"flooding"
"""What it prints when it is under way."""


class Flood:
    """A flood under way, and in the end how large it was."""

    def __init__(self) -> None:
        self.rate = 0
        """Transfers posted a second, once it has ended."""


@asynccontextmanager
async def flood(target: str, tls: TlsFiles, accounts: Sequence[int]) -> AsyncIterator[Flood]:
    """Flood `target` while the block runs. Raises BenchError where a transfer was not posted."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.flood_client",
        f"--target={target}",
        f"--certificate={tls.certificate}",
        f"--key={tls.key}",
        f"--ca={tls.ca}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    under_way = Flood()
    try:
        process.stdin.write(json.dumps(list(accounts)).encode() + b"\n")
        await _expect(process.stdout, START_TIMEOUT_S, FLOODING)
        yield under_way
        process.terminate()
        under_way.rate = int(await _line(process.stdout, STOP_TIMEOUT_S))
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _expect(stream: asyncio.StreamReader, within_s: float, expected: bytes) -> None:
    said = await _line(stream, within_s)
    if said != expected:
        raise BenchError("the flood did not start")


async def _line(stream: asyncio.StreamReader, within_s: float) -> bytes:
    """The next line. Raises BenchError where there is none in time."""
    try:
        async with asyncio.timeout(within_s):
            line = await stream.readline()
    except TimeoutError as error:
        raise BenchError("the flood does not answer") from error
    if not line:
        raise BenchError("the flood ended by itself: see its errors above")
    return line.strip()
