"""The stream in Redis: where it ends, and adding to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import redis.asyncio as redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from paycore.domain.stream import FIELDS, EntryId, epoch_key, stream_key
from projector.errors import SinkRefusedError
from projector.persistence import Persistence

REQUEST_TIMEOUT_S = 5.0

OLD_STREAM_S = 7 * 86_400
"""How long the stream of an epoch that is over is left to those who still read it, in seconds."""

_SCRIPT = (Path(__file__).parent / "stream.lua").read_text(encoding="utf-8")
_NAMES = json.dumps(FIELDS)

_CURABLE = (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
"""Refusals that a person or time cures: rights, memory, a server that starts or follows."""

Reply = TypeVar("Reply")


class Line(NamedTuple):
    """An event to be added: `told` is a JSON array of its entry's id and its fields."""

    entry: EntryId
    told: str


class Added(NamedTuple):
    """Whether events were added, and where the stream ends; None where there is none."""

    done: bool
    ends: EntryId | None


class RedisPersistence(Persistence):
    """Repeats what fails in passing, for as long as it takes, and tells why meanwhile."""

    async def request(self, step: str, attempt: Callable[[], Awaitable[Reply]]) -> Reply:
        """The reply to `attempt`, awaited anew until there is one.

        Raises SinkRefusedError when the request as such is refused.
        """
        backoff = self.backoff()
        while True:
            try:
                reply = await attempt()
            except (RedisError, OSError, TimeoutError) as error:
                cause = type(error).__name__
                if isinstance(error, ResponseError) and not isinstance(error, _CURABLE):
                    raise SinkRefusedError(f"{step}: {cause}") from error
            else:
                self.cleared(step)
                return reply
            await self.pause(step, cause, backoff)


class StreamWriter:
    """The stream of one epoch, under `prefix`. Requests raise RedisError, OSError, TimeoutError."""

    def __init__(self, url: str, prefix: str, *, entries: int) -> None:
        """`entries` is about how many are kept."""
        self._client = redis.Redis.from_url(
            url,
            # Its own would keep cancellations that come while a command is sent to itself.
            socket_timeout=None,
            socket_connect_timeout=REQUEST_TIMEOUT_S,
            retry=None,
            protocol=2,
            decode_responses=True,
        )
        self._prefix = prefix
        self._entries = entries
        self._epoch = 0
        self._key = ""
        self._script = ""

    async def told_epoch(self) -> int | None:
        """The epoch whose stream readers are told to read; None where nothing is told."""
        told = await _answer(self._client.get(epoch_key(self._prefix)))
        return None if told is None else int(told)

    async def open(self, epoch: int, before: int | None) -> EntryId | None:
        """Write the stream of `epoch` from here on, and tell readers; returns where it ends.

        That of the epoch `before` goes after some time.
        """
        self._epoch = epoch
        self._key = stream_key(self._prefix, epoch)
        if before is not None and before != epoch:
            await _answer(self._client.expire(stream_key(self._prefix, before), OLD_STREAM_S))
        await _answer(self._client.set(epoch_key(self._prefix), epoch))
        return await self.ends()

    async def ends(self) -> EntryId | None:
        """The id of the last entry that there ever was; None where there is no stream."""
        if not await _answer(self._client.exists(self._key)):
            return None
        told: dict[str, Any] = await _answer(self._client.xinfo_stream(self._key))
        return EntryId.parse(told["last-generated-id"])

    async def look(self) -> EntryId | None:
        """Where it ends; readers are told of the epoch again where nothing tells them any more."""
        await _answer(self._client.set(epoch_key(self._prefix), self._epoch, nx=True))
        return await self.ends()

    async def add(self, expected: EntryId | None, events: Sequence[Line]) -> Added:
        """Add `events` where the stream ends as `expected`."""
        words = (
            2,
            self._key,
            epoch_key(self._prefix),
            "" if expected is None else str(expected),
            self._entries,
            _NAMES,
            f"[{','.join(event.told for event in events)}]",
            self._epoch,
        )
        try:
            done, ends = await _answer(self._client.evalsha(self._script, *words))
        except NoScriptError:
            self._script = await _answer(self._client.script_load(_SCRIPT))
            done, ends = await _answer(self._client.evalsha(self._script, *words))
        return Added(done == 1, EntryId.parse(ends) if ends else None)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _answer(asked: Any) -> Any:
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        return await asked
