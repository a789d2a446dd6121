"""The requests of one stream as they arrive, until the caller or the process ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import grpc

_END: object = grpc.aio.EOF  # type: ignore[attr-defined]  # stubs lack it


class Draining:
    """Tells every stream at once that the process reads no more requests."""

    def __init__(self) -> None:
        self._begun = False
        self._waiting: set[asyncio.Future[Any]] = set()
        self._lives: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        """From now on nobody waits for a request, and what lives within a `life` ends."""
        self._begun = True
        for read in self._waiting:
            read.cancel()
        for life in self._lives:
            if not life.expired():
                life.reschedule(0)

    @asynccontextmanager
    async def life(self, most_s: float) -> AsyncIterator[asyncio.Timeout]:
        """What runs inside ends after `most_s` seconds, or when draining begins, with TimeoutError:
        the life given has then expired."""
        async with asyncio.timeout(0 if self._begun else most_s) as life:
            self._lives.add(life)
            try:
                yield life
            finally:
                self._lives.discard(life)

    def has_begun(self) -> bool:
        """Whether `begin` was called."""
        return self._begun

    def cuts_off(self, read: asyncio.Future[Any]) -> None:
        """Cancel `read` when draining begins before it is done."""
        self._waiting.add(read)
        read.add_done_callback(self._waiting.discard)


class Incoming:
    """Raw requests of one stream, read when they are asked for: what is not read, the transport
    holds back at the caller."""

    def __init__(self, context: Any, draining: Draining) -> None:
        self._context = context
        self._draining = draining
        self.cut_off = False
        """Whether the process ended the requests before the caller did."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._draining.has_begun():
            self.cut_off = True
            raise StopAsyncIteration
        read = asyncio.ensure_future(self._context.read())
        self._draining.cuts_off(read)
        try:
            raw = await read
        except asyncio.CancelledError:
            reader = asyncio.current_task()
            if not self._draining.has_begun() or (reader is not None and reader.cancelling()):
                raise
            self.cut_off = True
            raise StopAsyncIteration from None
        if raw is _END:
            raise StopAsyncIteration
        message: bytes = raw
        return message
