"""A TCP proxy before PostgreSQL that cuts connections where it hurts most."""

from __future__ import annotations

import asyncio
import contextlib
import random
from enum import Enum, auto
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""The simple query COMMIT, as a frontend sends it (PostgreSQL frontend/backend protocol)."""

_COMMITTED = b"COMMIT\x00"
_CHUNK = 1 << 16


class Cut(Enum):
    """Where in the life of a COMMIT the connection is cut."""

    BEFORE = auto()
    """The server never sees it."""
    AFTER = auto()
    """The server has committed; the client never hears of it."""


class PostgresProxy:
    """Passes bytes between clients and one server; use as an async context manager."""

    def __init__(self, dsn: str) -> None:
        """`dsn` is a URL of the server behind."""
        self._dsn = urlsplit(dsn)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._armed: list[Cut] = []
        self._chance: tuple[random.Random, float] | None = None
        self.refusing = False
        """While set, no new connection is let through."""
        self.cuts = 0
        """Connections cut so far."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut_all()

    @property
    def dsn(self) -> str:
        """The same place through this proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        credentials = self._dsn.netloc.rpartition("@")[0]
        return urlunsplit(self._dsn._replace(netloc=f"{credentials}@127.0.0.1:{port}"))

    def cut_next(self, *cuts: Cut) -> None:
        """Cut the next commits on any connection, one each."""
        self._armed.extend(cuts)

    def cut_often(self, rng: random.Random, share: float) -> None:
        """Cut this share of all commits from now on, in either way."""
        self._chance = (rng, share)

    def cut_never(self) -> None:
        """Let everything pass again."""
        self._armed.clear()
        self._chance = None
        self.refusing = False

    async def cut_all(self) -> None:
        """Cut every connection that is open."""
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def _verdict(self) -> Cut | None:
        if self._armed:
            return self._armed.pop(0)
        if self._chance is not None:
            rng, share = self._chance
            if rng.random() < share:
                return rng.choice(list(Cut))
        return None

    async def _accept(self, client: asyncio.StreamReader, reply: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        try:
            if not self.refusing:
                await self._link(client, reply)
        except (OSError, asyncio.CancelledError):
            # The test, or the server, has cut it: both ends see that below.
            pass
        finally:
            self._links.discard(link)
            reply.transport.abort()

    async def _link(self, client: asyncio.StreamReader, reply: asyncio.StreamWriter) -> None:
        host, port = self._dsn.hostname, self._dsn.port
        server, request = await asyncio.open_connection(host, port)
        link = _Link()
        try:
            forth = asyncio.create_task(self._forth(client, request, link))
            back = asyncio.create_task(self._back(server, reply, link))
            try:
                await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                forth.cancel()
                back.cancel()
                await asyncio.gather(forth, back, return_exceptions=True)
        finally:
            request.close()
            with contextlib.suppress(OSError):
                await request.wait_closed()

    async def _forth(
        self, client: asyncio.StreamReader, request: asyncio.StreamWriter, link: _Link
    ) -> None:
        while chunk := await client.read(_CHUNK):
            if chunk.endswith(_COMMIT):
                cut = self._verdict()
                if cut is Cut.BEFORE:
                    self.cuts += 1
                    return
                link.swallow = cut is Cut.AFTER
            request.write(chunk)
            await request.drain()

    async def _back(
        self, server: asyncio.StreamReader, reply: asyncio.StreamWriter, link: _Link
    ) -> None:
        while chunk := await server.read(_CHUNK):
            if link.swallow and _COMMITTED in chunk:
                self.cuts += 1
                return
            reply.write(chunk)
            await reply.drain()


class _Link:
    """One connection's state: whether the reply to its commit must not arrive."""

    swallow = False
