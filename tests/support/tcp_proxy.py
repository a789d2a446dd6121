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

    async def _accept(self, client: asyncio.StreamReader, reply: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        try:
            if not self.refusing:
                await self._link(client, reply)
        except (OSError, asyncio.CancelledError):
            # The test, or one of the ends, has cut it: both ends see that below.
            pass
        finally:
            self._links.discard(link)
            reply.transport.abort()

    async def _link(self, client: asyncio.StreamReader, reply: asyncio.StreamWriter) -> None:
        server, request = await asyncio.open_connection(*self._upstream)
        forth = asyncio.create_task(self._pass_on(client, request, late=False))
        back = asyncio.create_task(self._pass_on(server, reply, late=True))
        try:
            await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forth.cancel()
            back.cancel()
            await asyncio.gather(forth, back, return_exceptions=True)
            request.close()
            with contextlib.suppress(OSError):
                await request.wait_closed()

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, late: bool
    ) -> None:
        while chunk := await source.read(_CHUNK):
            if late and self.delay_s:
                await asyncio.sleep(self.delay_s)
            target.write(chunk)
            await target.drain()
