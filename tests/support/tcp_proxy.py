"""A TCP proxy before a server that answers late, or not at all, when told to."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

_CHUNK = 1 << 16


class TcpProxy:
    """Passes bytes between clients and one server; use as an async context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.delay_s = 0.0
        """By how much each reply is late."""
        self.refusing = False
        """While set, new connections are closed at once."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    @property
    def port(self) -> int:
        """Where it listens, on the loopback."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def cut(self) -> None:
        """Cut every connection that is open."""
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def new_link(self) -> Link:
        """What decides about the bytes of one connection."""
        return Link()

    async def _accept(self, client: asyncio.StreamReader, reply: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            if not self.refusing:
                await self._join(client, reply)
        except (OSError, asyncio.CancelledError):
            # The test, or one of the ends, has cut it: both ends see that below.
            pass
        finally:
            self._links.discard(task)
            reply.transport.abort()

    async def _join(self, client: asyncio.StreamReader, reply: asyncio.StreamWriter) -> None:
        server, request = await asyncio.open_connection(*self._upstream)
        link = self.new_link()
        forth = asyncio.create_task(self._forth(client, request, link))
        back = asyncio.create_task(self._back(server, reply, link))
        try:
            await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forth.cancel()
            back.cancel()
            await asyncio.gather(forth, back, return_exceptions=True)
            request.close()
            with contextlib.suppress(OSError):
                await request.wait_closed()

    async def _forth(
        self, client: asyncio.StreamReader, request: asyncio.StreamWriter, link: Link
    ) -> None:
        while (chunk := await client.read(_CHUNK)) and link.lets_ask(chunk):
            request.write(chunk)
            await request.drain()

    async def _back(
        self, server: asyncio.StreamReader, reply: asyncio.StreamWriter, link: Link
    ) -> None:
        while (chunk := await server.read(_CHUNK)) and link.lets_answer(chunk):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            reply.write(chunk)
            await reply.drain()


class Link:
    """One connection: who says no to its bytes, cuts it."""

    def lets_ask(self, _: bytes) -> bool:
        """Whether what the client sent goes on to the server."""
        return True

    def lets_answer(self, _: bytes) -> bool:
        """Whether what the server sent goes on to the client."""
        return True
