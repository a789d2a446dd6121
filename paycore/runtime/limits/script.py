"""The script that decides, on a connection of its own: one question at a time."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis.asyncio as redis
from redis.exceptions import NoScriptError

_SCRIPT = (Path(__file__).parent / "gcra.lua").read_text(encoding="utf-8")
_DECISION = struct.Struct("<3d")

Asked = tuple[float, float, float, float]
"""Of one limit: microseconds per unit, burst, units wanted, units taken ahead if there is room."""

Decided = tuple[float, float, float]
"""Of one call: 0 or the microseconds to wait, the place of the limit that says so from 1 or else 0,
the units taken ahead."""


class GcraScript:
    """Not to be asked again before the answer is there.

    The commands of redis-py itself cost three times as much Python as a connection that is spoken
    to directly.
    """

    def __init__(self, url: str) -> None:
        # Its own time-out would wrap each command in a task, and keep cancellations that come while
        # a command is sent to itself, those of our time-out among them.
        pool = redis.ConnectionPool.from_url(url, retry=None, protocol=2, socket_timeout=None)
        self._connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]  # as redis-py has it
        self._id = b""

    async def load(self, within_s: float) -> None:
        """See to it that Redis is there and has the script.

        Raises RedisError, OSError, TimeoutError.
        """
        self._id = await self._ask(within_s, "SCRIPT", "LOAD", _SCRIPT)

    async def decide(
        self, keys: Sequence[str], calls: Sequence[Sequence[Asked]], within_s: float
    ) -> list[Decided]:
        """The decision of each of `calls`, whose limits have `keys` one after the other.

        Raises RedisError, OSError, TimeoutError, and ValueError where the answer is none.
        """
        figures: list[float] = []
        for limits in calls:
            figures.append(len(limits))
            for limit in limits:
                figures += limit
        packed = struct.pack(f"<{len(figures)}d", *figures)
        try:
            reply = await self._ask(within_s, "EVALSHA", self._id, len(keys), *keys, packed)
        except NoScriptError:
            # Emptied since it was loaded.
            await self.load(within_s)
            reply = await self._ask(within_s, "EVALSHA", self._id, len(keys), *keys, packed)
        if not isinstance(reply, bytes) or len(reply) != _DECISION.size * len(calls):
            raise ValueError("not a decision for each call")
        return list(_DECISION.iter_unpack(reply))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.disconnect(nowait=True)

    async def _ask(self, within_s: float, *words: str | bytes | int) -> Any:
        connection = self._connection
        try:
            async with asyncio.timeout(within_s):
                if not connection.is_connected:
                    await connection.connect()
                await connection.send_command(*words, check_health=False)
                return await connection.read_response()
        except NoScriptError:
            raise
        except BaseException:
            # An answer may be under way that nobody waits for: the next would take it for its own.
            await connection.disconnect(nowait=True)
            raise
