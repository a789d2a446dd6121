"""An HTTP proxy before Elasticsearch that fails as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

import aiohttp
from aiohttp import web

Fault = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | None]]
"""Sees a request first; answers it itself, or returns None to let it pass."""


class FaultyProxy:
    """Passes requests on, after asking `fault`, and records their paths."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._runner: web.AppRunner | None = None
        self.fault: Fault | None = None
        self.drop_replies = 0
        """How many further replies to bulk requests are lost on their way back."""
        self.paths: list[str] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.paths.append(request.path)
        if self.fault is not None:
            answer = await self.fault(request, body)
            if answer is not None:
                return answer
        reply = await self.forward(request, body)
        if self.drop_replies and request.path == "/_bulk":
            self.drop_replies -= 1
            transport = request.transport
            assert transport is not None
            transport.close()
        return reply

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        """What Elasticsearch answers to `request` with `body`."""
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("authorization", "content-type", "accept")
        }
        try:
            async with self._session.request(
                request.method, self._upstream + request.path_qs, data=body, headers=headers
            ) as reply:
                return web.Response(
                    status=reply.status,
                    body=await reply.read(),
                    headers={
                        name: reply.headers[name]
                        for name in ("Content-Type", "X-elastic-product")
                        if name in reply.headers
                    },
                )
        except aiohttp.ClientError:
            # Elasticsearch is away: so is this.
            return refusal(503)


class Gate:
    """Holds requests to one path until it is opened."""

    def __init__(self, path_end: str) -> None:
        self._path_end = path_end
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, request: web.Request, _: bytes) -> None:
        if request.path.endswith(self._path_end):
            self.reached.set()
            await self.open.wait()


def refusal(status: int, content: bytes = b"{}") -> web.Response:
    return web.Response(
        status=status,
        body=content,
        headers={
            "Content-Type": "application/vnd.elasticsearch+json;compatible-with=9",
            "X-elastic-product": "Elasticsearch",
        },
    )
