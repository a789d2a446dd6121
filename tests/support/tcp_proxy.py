"""A TCP proxy before a server: between them answers come late, in drops, in part, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Self

_CHUNK = 1 << 16
_DROP = 1 << 10
"""What a slow link lets through at a time, in bytes."""

_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER by which closing a socket resets its connection."""


class TcpProxy:
    """Passes bytes between clients and one server; use as an async context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], Link] = {}
        self.delay_s = 0.0
        """By how much each reply is late."""
        self.latency_s = 0.0
        """By how much whatever is sent is late, either way."""
        self.bytes_per_s = 0
        """How much each connection carries, either way; 0 for as much as there is."""
        self.refusing = False
        """While set, new connections are closed at once."""
        self.vanishing = False
        """While set, what is sent is gone, either way, and no end of a connection hears of it."""
        self.tearing = 0
        """Messages, on any connection, of which only the first half passes before a reset."""
        self.torn = 0
        """Messages of which only a half has passed."""
        self.lost = 0
        """Bytes that are gone."""

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

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._links)

    async def cut(self) -> None:
        """Cut every connection that is open: clients see a reset."""
        await self._end(list(self._links))

    async def heal(self) -> None:
        """Let everything pass again. A connection that has lost bytes cannot go on: it is cut."""
        self.delay_s = self.latency_s = 0.0
        self.bytes_per_s = self.tearing = 0
        self.refusing = self.vanishing = False
        await self._end([task for task, link in self._links.items() if link.lossy])

    def new_link(self) -> Link:
        """What decides about the bytes of one connection."""
        return Link()

    async def _end(self, links: list[asyncio.Task[None]]) -> None:
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _accept(self, client: asyncio.StreamReader, reply: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = link = self.new_link()
        try:
            if not self.refusing:
                await self._join(client, reply, link)
        except (OSError, asyncio.CancelledError):
            # The test, or one of the ends, has cut it: both ends see that below.
            link.broken = True
        finally:
            del self._links[task]
            if link.broken:
                _reset_at_end(reply)
            reply.transport.abort()

    async def _join(
        self, client: asyncio.StreamReader, reply: asyncio.StreamWriter, link: Link
    ) -> None:
        server, request = await asyncio.open_connection(*self._upstream)
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
            if not await self._carry(chunk, request, link):
                return

    async def _back(
        self, server: asyncio.StreamReader, reply: asyncio.StreamWriter, link: Link
    ) -> None:
        while (chunk := await server.read(_CHUNK)) and link.lets_answer(chunk):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if not await self._carry(chunk, reply, link):
                return

    async def _carry(self, chunk: bytes, there: asyncio.StreamWriter, link: Link) -> bool:
        """Whether the connection goes on after what becomes of `chunk`."""
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if self.vanishing or link.lossy:
            # What comes after a gap can never be delivered either.
            link.lossy = True
            self.lost += len(chunk)
            return True
        if self.tearing and len(chunk) > 1:
            self.tearing -= 1
            self.torn += 1
            there.write(chunk[: len(chunk) // 2])
            await there.drain()
            link.broken = True
            return False
        for drop in _drops(chunk, self.bytes_per_s):
            there.write(drop)
            await there.drain()
            if self.bytes_per_s:
                await asyncio.sleep(len(drop) / self.bytes_per_s)
        return True


class Link:
    """One connection: who says no to its bytes, cuts it."""

    lossy = False
    """Whether something of it is gone."""
    broken = False
    """Whether it ends otherwise than by one of its ends."""

    def lets_ask(self, _: bytes) -> bool:
        """Whether what the client sent goes on to the server."""
        return True

    def lets_answer(self, _: bytes) -> bool:
        """Whether what the server sent goes on to the client."""
        return True


def _drops(chunk: bytes, bytes_per_s: int) -> list[bytes]:
    if not bytes_per_s:
        return [chunk]
    return [chunk[at : at + _DROP] for at in range(0, len(chunk), _DROP)]


def _reset_at_end(writer: asyncio.StreamWriter) -> None:
    """Have the other side see a reset, as from a machine that knows nothing of the connection."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
