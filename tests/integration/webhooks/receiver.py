"""An endpoint on loopback that answers as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True)
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def delivery(self) -> str:
        return self.headers["Paycore-Delivery"]


Answering = Callable[[int], Awaitable[web.StreamResponse | None]]
"""Answers the n-th request, from 0 on; None for 200."""


@dataclass
class Receiver:
    """Keeps what it is sent."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answering: Answering | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        number = len(self.received)
        self.received.append(Received(dict(request.headers), await request.read()))
        answer = None if self.answering is None else await self.answering(number)
        return answer or web.Response()

    async def until(self, count: int, within_s: float = 60.0) -> list[Received]:
        """What was received, once it is `count` at least."""
        async with asyncio.timeout(within_s):
            while len(self.received) < count:
                await asyncio.sleep(0.02)
        return self.received


@asynccontextmanager
async def receiver(answering: Answering | None = None) -> AsyncIterator[Receiver]:
    """Runs meanwhile."""
    one = Receiver(answering=answering)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", one.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield one
    finally:
        await runner.cleanup()


def always(status: int, **headers: str) -> Answering:
    """The same each time."""

    async def answer(_: int) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return answer


def first(*statuses: int) -> Answering:
    """These, then 200."""

    async def answer(number: int) -> web.StreamResponse | None:
        return web.Response(status=statuses[number]) if number < len(statuses) else None

    return answer
