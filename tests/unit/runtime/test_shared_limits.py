"""A call gets its decision whatever Redis answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime import limits
from paycore.runtime.clock import SystemClock
from paycore.runtime.limits import RateLimit, SharedLimiter

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
                    case b"PING":
                        writer.write(b"+PONG\r\n")
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
    limiter = SharedLimiter(
        f"redis://127.0.0.1:{port}?protocol=2", "client", RateLimit(0.001, 10), SystemClock()
    )
    await limiter.start()
    try:
        yield limiter
    finally:
        await limiter.stop()
        server.close()
        await server.wait_closed()


async def until_shared() -> None:
    async with asyncio.timeout(5):
        while not REGISTRY.get_sample_value("paycore_limits_shared"):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "decision",
    [
        b"*2\r\n*2\r\n:0\r\n:0\r\n*2\r\n:0\r\n:0\r\n",
        b"*1\r\n:0\r\n",
        b"*1\r\n*2\r\n$4\r\nsoon\r\n:0\r\n",
        b"*1\r\n*2\r\n:0\r\n$4\r\nmany\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"?what\r\n",
    ],
    ids=["too many", "no pair", "no wait", "no units", "a number", "nothing", "no protocol"],
)
async def test_calls_are_decided_here_when_the_reply_is_of_no_use(
    decision: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROBE_EVERY_S", 0.01)
    limits.SHARED.set(0)
    redis = BadRedis(decision)
    async with limiter_on(redis) as limiter:
        for _ in range(5):
            await until_shared()
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await limiter.admit("app", 1)
        # The fallback's half of the burst is used up, and it says so as ever.
        async with asyncio.timeout(ANSWER_WITHIN_S):
            with pytest.raises(PaycoreError) as refusal:
                await limiter.admit("app", 1)
        assert refusal.value.reason is Reason.RATE_LIMITED
        assert redis.scripts > 1
