"""Questions about keys: those that wait together share one, and a key is asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.together import Together

K = TypeVar("K")
V = TypeVar("V")


class Coalesced(Generic[K, V]):
    """`Together`, for keys that many may wait for at once, each as long as it likes."""

    def __init__(
        self,
        ask: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        *,
        at_once: int,
        most_waiting: int,
        gather_s: float,
    ) -> None:
        """`ask` takes up to `at_once` keys, answers every one and never raises; `most_waiting` is
        how many may be asked for at the same time; `gather_s` as in `Together`."""
        self._most_waiting = most_waiting
        self._under_way: dict[K, asyncio.Future[V]] = {}

        async def in_order(keys: Sequence[K]) -> list[V]:
            # One that was forgotten while it waited may be there twice.
            answers = await ask(list(dict.fromkeys(keys)))
            return [answers[key] for key in keys]

        self._together = Together(
            in_order,
            at_once=at_once,
            most_waiting=most_waiting,
            gather_s=gather_s,
            refusal=_overloaded,
        )

    async def get(
        self, keys: Sequence[K], within_s: float, late: PaycoreError
    ) -> Mapping[K, V | PaycoreError]:
        """The answer for each of `keys`: `late` for those without one after `within_s` seconds,
        OVERLOADED for all when too much is being asked for."""
        if len(keys) + len(self._under_way) > self._most_waiting:
            return dict.fromkeys(keys, _overloaded())
        futures = {key: self._future(key) for key in keys}
        await asyncio.wait(futures.values(), timeout=max(0.0, within_s))
        return {key: future.result() if future.done() else late for key, future in futures.items()}

    def forget(self, key: K) -> None:
        """Whoever asks for `key` from now on has an answer that was asked for from now on."""
        self._under_way.pop(key, None)

    def _future(self, key: K) -> asyncio.Future[V]:
        future = self._under_way.get(key)
        if future is None:
            future = self._under_way[key] = self._together.put(key)
            future.add_done_callback(lambda done: self._ended(key, done))
        return future

    def _ended(self, key: K, future: asyncio.Future[V]) -> None:
        if self._under_way.get(key) is future:
            del self._under_way[key]


def _overloaded() -> PaycoreError:
    return PaycoreError(Reason.OVERLOADED, "too many keys are asked for", retry_after_ms=200)
