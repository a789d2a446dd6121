"""Questions that wait together share one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from paycore.domain.errors import PaycoreError, Reason

K = TypeVar("K")
V = TypeVar("V")


class Coalesced(Generic[K, V]):
    """Asks `ask` for many keys at a time, one call after the other: while one is under way, those
    who come wait for the next, and a key that several wait for is asked for once."""

    def __init__(
        self,
        ask: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        most: int,
        waiting: int,
    ) -> None:
        """`ask` takes up to `most` keys, answers every one and never raises; `waiting` is how many
        may be asked for at the same time."""
        self._ask = ask
        self._most = most
        self._room = waiting
        self._next: dict[K, asyncio.Future[V]] = {}
        self._asked: dict[K, asyncio.Future[V]] = {}
        self._work: asyncio.Task[None] | None = None

    async def get(
        self, keys: Sequence[K], within_s: float, late: PaycoreError
    ) -> Mapping[K, V | PaycoreError]:
        """The answer for each of `keys`: `late` for those without one after `within_s` seconds,
        OVERLOADED for all when too much is being asked for."""
        if len(keys) + len(self._next) + len(self._asked) > self._room:
            full = PaycoreError(
                Reason.OVERLOADED, "too many keys are asked for", retry_after_ms=200
            )
            return dict.fromkeys(keys, full)
        futures = {key: self._future(key) for key in keys}
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run(), name="coalesced")
        await asyncio.wait(futures.values(), timeout=max(0.0, within_s))
        return {
            key: future.result() if future.done() and not future.cancelled() else late
            for key, future in futures.items()
        }

    def _future(self, key: K) -> asyncio.Future[V]:
        future = self._asked.get(key) or self._next.get(key)
        if future is None:
            future = self._next[key] = asyncio.get_running_loop().create_future()
        return future

    async def _run(self) -> None:
        # Not at once: those who ask in the same turn of the loop belong in one call.
        await asyncio.sleep(0)
        while self._next:
            keys = list(islice(self._next, self._most))
            self._asked = {key: self._next.pop(key) for key in keys}
            try:
                answers = await self._ask(keys)
                for key, future in self._asked.items():
                    future.set_result(answers[key])
            finally:
                for future in self._asked.values():
                    future.cancel()
                self._asked = {}
