"""Reads the stream of events in Redis: alone, or as one of a group of consumers (docs/stream.md).

An event is delivered to one consumer of a group, and again to another where the first did not
acknowledge it: at least once. Events of an account may come out of the order of its versions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from pathlib import Path
from typing import Any, Self

import redis.asyncio as redis
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from paycore.client.stream_errors import (
    StreamGroupUnknownError,
    StreamRefusedError,
    StreamReplacedError,
    StreamTrimmedError,
    StreamUnknownError,
    StreamUnreachableError,
)
from paycore.client.stream_events import StreamEvent, read_event
from paycore.domain.stream import DEFAULT_PREFIX, NOWHERE, EntryId, epoch_key, stream_key

EARLIEST = "earliest"
"""From the oldest event that the stream still has."""
LATEST = "latest"
"""From now on."""

ANSWER_WITHIN_S = 5.0
BLOCK_S = 1.0
"""How long one request waits for an event at most, in seconds."""

_SCRIPT = (Path(__file__).parent / "stream_read.lua").read_text(encoding="utf-8")


class TransferStream:
    """The stream of the epoch in which it was opened. All methods raise StreamUnreachableError and
    StreamRefusedError; reads StreamReplacedError once the ledger is in another epoch."""

    def __init__(self, client: redis.Redis, prefix: str, epoch: int) -> None:
        self._client = client
        self._prefix = prefix
        self._key = stream_key(prefix, epoch)
        self._script = ""
        self.epoch = epoch

    @classmethod
    async def open(cls, url: str, *, prefix: str = DEFAULT_PREFIX) -> Self:
        """The stream that is written now. Raises StreamUnknownError where there is none."""
        client = redis.Redis.from_url(
            url,
            # Its own would keep cancellations that come while a command is sent to itself.
            socket_timeout=None,
            socket_connect_timeout=ANSWER_WITHIN_S,
            retry=None,
            protocol=2,
            decode_responses=True,
        )
        try:
            told = await _answer(client.get(epoch_key(prefix)))
            if told is None:
                raise StreamUnknownError(f"there is no stream {prefix}")
        except BaseException:
            await client.aclose()
            raise
        return cls(client, prefix, int(told))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create_group(self, group: str, start: str = LATEST) -> bool:
        """Make a group that begins at EARLIEST, LATEST, or after an entry; False where it is there.

        Begun after an entry, and at LATEST, it is told of every event that it should have had and
        the stream has no more. Raises StreamUnknownError.
        """
        at = {EARLIEST: str(NOWHERE), LATEST: "$"}.get(start) or str(EntryId.parse(start))
        try:
            await self._ask("XGROUP", "CREATE", self._key, group, at)
        except StreamRefusedError as error:
            cause = str(error.__cause__)
            if cause.startswith("BUSYGROUP"):
                return False
            if "requires the key to exist" in cause:
                raise StreamUnknownError(f"there is no stream {self._key}") from error
            raise
        return True

    async def read(
        self, group: str, consumer: str, *, most: int = 100, wait_s: float = 0.0
    ) -> list[StreamEvent]:
        """Up to `most` events that no consumer of the group had, once there is one.

        Empty after `wait_s` seconds without any. Raises StreamTrimmedError, having taken none,
        where some are gone that the group should have had; StreamGroupUnknownError and
        StreamUnknownError.
        """
        until_s = time.monotonic() + wait_s
        while True:
            ends, entries = await self._take(group, consumer, most)
            left_s = until_s - time.monotonic()
            if entries or left_s <= 0:
                return [read_event(entry, _fields(flat)) for entry, flat in entries]
            await self._await_more(ends, left_s)

    async def acknowledge(self, group: str, entries: Sequence[StreamEvent | str]) -> int:
        """Say that these were handled, and need not be delivered again; how many were pending."""
        if not entries:
            return 0
        ids = [entry if isinstance(entry, str) else entry.entry for entry in entries]
        acknowledged: int = await self._ask("XACK", self._key, group, *ids)
        return acknowledged

    async def reclaim(
        self, group: str, consumer: str, *, idle_s: float, most: int = 100
    ) -> list[StreamEvent]:
        """Take over up to `most` events that somebody has had for `idle_s` and not acknowledged.

        Raises StreamTrimmedError, having taken none, with those in `lost` that are gone:
        acknowledge them once their effect was read from the ledger. And StreamGroupUnknownError.
        """
        idle_ms = int(idle_s * 1_000)
        try:
            pending = await _answer(
                self._client.xpending_range(self._key, group, "-", "+", most, idle=idle_ms)
            )
        except StreamRefusedError as error:
            if "NOGROUP" in str(error.__cause__):
                raise StreamGroupUnknownError(f"the stream has no group {group}") from error
            raise
        ids = [row["message_id"] for row in pending]
        if not ids:
            return []
        claimed = await self._ask("XCLAIM", self._key, group, consumer, idle_ms, *ids, group=group)
        events = [read_event(entry, fields) for entry, fields in claimed if fields]
        missing = set(ids) - {event.entry for event in events}
        lost = [entry for entry in ids if entry in missing and not await self._has(entry)]
        if lost:
            raise StreamTrimmedError(lost[0], lost[-1], lost)
        return events

    async def skip_lost(self, group: str, error: StreamTrimmedError) -> None:
        """Move the group past what `error` told of: its effect was read from the ledger."""
        if error.lost:
            await self.acknowledge(group, error.lost)
        else:
            await self._ask("XGROUP", "SETID", self._key, group, error.resumes_after, group=group)

    async def follow(self, start: str = LATEST) -> AsyncGenerator[StreamEvent, None]:
        """Every event from EARLIEST, LATEST or after an entry on, without end, for this reader.

        Raises StreamTrimmedError where the reader was too slow, and StreamUnknownError where the
        stream is gone.
        """
        last = await self._first_of(start)
        while True:
            if (told := await self._ask("GET", epoch_key(self._prefix))) != str(self.epoch):
                if told is not None:
                    raise StreamReplacedError(self.epoch, int(told))
                raise StreamUnknownError(f"there is no stream {self._key}")
            found = await self._ask("XRANGE", self._key, f"({last}", "+", "COUNT", 500)
            for entry, fields in found:
                event = read_event(entry, fields)
                if event.previous != last and last != str(NOWHERE):
                    raise StreamTrimmedError(last, event.previous)
                yield event
                last = event.entry
            if not found:
                await self._await_more(last, BLOCK_S)

    async def _first_of(self, start: str) -> str:
        if start == EARLIEST:
            return str(NOWHERE)
        if start != LATEST:
            return str(EntryId.parse(start))
        newest = await self._ask("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        return str(newest[0][0]) if newest else str(NOWHERE)

    async def _take(self, group: str, consumer: str, most: int) -> tuple[str, list[Any]]:
        """Where the stream ends, and what was taken of it."""
        words = (2, self._key, epoch_key(self._prefix), group, consumer, most, self.epoch)
        try:
            told = await _answer(self._client.evalsha(self._script, *words))
        except StreamRefusedError as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
            self._script = await _answer(self._client.script_load(_SCRIPT))
            told = await _answer(self._client.evalsha(self._script, *words))
        match told:
            case ["events", ends]:
                return ends, []
            case ["events", ends, entries]:
                return ends, entries
            case ["epoch", now]:
                raise StreamReplacedError(self.epoch, int(now))
            case ["gap", after, resumes_after]:
                raise StreamTrimmedError(after, resumes_after)
            case ["group"]:
                raise StreamGroupUnknownError(f"the stream has no group {group}")
            case _:
                raise StreamUnknownError(f"there is no stream {self._key}")

    async def _await_more(self, last: str, at_most_s: float) -> None:
        block_ms = max(1, int(min(at_most_s, BLOCK_S) * 1_000))
        await self._ask("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", self._key, last)

    async def _has(self, entry: str) -> bool:
        return bool(await self._ask("XRANGE", self._key, entry, entry))

    async def _ask(self, *words: str | int, group: str = "") -> Any:
        """The reply. Raises StreamGroupUnknownError where there is no such group."""
        try:
            asked = self._client.execute_command(*words)  # type: ignore[no-untyped-call]
            return await _answer(asked)
        except StreamRefusedError as error:
            if group and "NOGROUP" in str(error.__cause__):
                raise StreamGroupUnknownError(f"the stream has no group {group}") from error
            raise


def _fields(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def _answer(asked: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await asked
    except (AuthenticationError, NoPermissionError) as error:
        raise StreamRefusedError(type(error).__name__) from error
    except ResponseError as error:
        raise StreamRefusedError(str(error)) from error
    except (RedisError, OSError, TimeoutError) as error:
        raise StreamUnreachableError(type(error).__name__) from error
