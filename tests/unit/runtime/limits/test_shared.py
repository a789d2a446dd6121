"""A call gets its decision whatever Redis answers."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from paycore.domain.limits import Limit, RateLimit
from paycore.runtime.clock import SystemClock
from paycore.runtime.limits import shared
from paycore.runtime.limits.rate import Charge
from paycore.runtime.limits.shared import SharedLimiter

ANSWER_WITHIN_S = 2.0


class BadRedis:
    """A server that answers as Redis does, but for scripts: those get `decision`."""

    def __init__(self, decision: bytes) -> None:
        self._decision = decision
        self.scripts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                name, *_ = await _command(reader)
                match name.upper():
                    case b"SCRIPT":
                        writer.write(b"$2\r\nid\r\n")
                    case b"EVALSHA":
                        self.scripts += 1
                        writer.write(self._decision)
                    case b"HELLO":
                        writer.write(b"-ERR unknown command\r\n")
                    case _:
                        writer.write(b"+OK\r\n")
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    parts = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(parts):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:size])
    return words


@asynccontextmanager
async def limiter_on(redis: BadRedis) -> AsyncIterator[SharedLimiter]:
    server = await asyncio.start_server(redis.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limiter = SharedLimiter(f"redis://127.0.0.1:{port}?protocol=2", SystemClock())
    await limiter.start()
    try:
        yield limiter
    finally:
        await limiter.stop()
        server.close()
        await server.wait_closed()


async def until_tried_again() -> None:
    async with asyncio.timeout(60):
        while REGISTRY.get_sample_value("paycore_breaker_state", {"breaker": "redis"}) == 2:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "decision",
    [
        b"$48\r\n" + bytes(48) + b"\r\n",
        b"$16\r\n" + bytes(16) + b"\r\n",
        b"$24\r\n" + struct.pack("<3d", 9, 2, 0) + b"\r\n",
        b"$24\r\n" + struct.pack("<3d", 9, 0.5, 0) + b"\r\n",
        b"$24\r\n" + struct.pack("<3d", 0, 0, math.nan) + b"\r\n",
        b"*3\r\n:0\r\n:0\r\n:0\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"-OOM no memory\r\n",
        b"?what\r\n",
        b"",
    ],
    ids=[
        "too many",
        "too few",
        "no such limit",
        "half a limit",
        "no units",
        "numbers",
        "a number",
        "nothing",
        "an error",
        "no protocol",
        "silence",
    ],
)
async def test_calls_are_decided_here_when_the_reply_is_of_no_use(
    decision: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "PROBE_EVERY_S", 0.01)
    call = [Charge(Limit.CLIENT, "app", RateLimit(0.001, 10), 1)]
    redis = BadRedis(decision)
    async with limiter_on(redis) as limiter:
        for _ in range(5):
            await until_tried_again()
            async with asyncio.timeout(ANSWER_WITHIN_S):
                assert await limiter.decide(call) is None
        # The fallback's half of the burst is used up, and it says so as ever.
        async with asyncio.timeout(ANSWER_WITHIN_S):
            assert await limiter.decide(call) is not None
        assert redis.scripts > 1
