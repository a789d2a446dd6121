"""How late this process hears of what is over, whoever it calls."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from typing import Any, Self

import grpc

EVERY_S = 0.1
"""How long a call to nobody may take, in seconds."""

KEPT = 5_000


class OwnLateness:
    """Calls a port where nobody ever answers, one call after the other.

    Its deadline ends such a call, within this process alone: by how much it ends later, this
    process's timers, threads and event loop are behind, and with them all that it hears of others.
    Use as an async context manager.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._calls: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._task: asyncio.Task[None] | None = None
        self.all_s: list[float] = []
        """By how much each call ended too late, in seconds."""

    async def __aenter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self._task = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        self._socket.close()

    async def _go_on(self) -> None:
        port = self._socket.getsockname()[1]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            untyped: Any = channel
            ask = untyped.unary_unary("/nobody/Answers")
            while True:
                began = time.monotonic()
                code = await ask(b"", timeout=EVERY_S, wait_for_ready=True).code()
                assert code is grpc.StatusCode.DEADLINE_EXCEEDED
                now = time.monotonic()
                self._calls.append((began, now))
                self.all_s.append(max(0.0, now - began - EVERY_S))

    async def at_most(self, began: float, ended: float) -> float:
        """The most by which it was late between two moments, in seconds."""
        # The call that was under way tells of the end.
        while not self._calls or self._calls[-1][0] < ended:
            await asyncio.sleep(EVERY_S)
        late = [
            over - start - EVERY_S for start, over in self._calls if start < ended and over > began
        ]
        return max(0.0, *late, 0.0)
