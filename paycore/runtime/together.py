"""Questions that wait at the same time are asked at once: a round trip for many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

LONG_AGO = 10
"""Company that was there so many `gather_s` ago is waited for no more."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Together(Generic[Item, Answer]):
    """Asks one question after the other, each for all that came while the last one was asked.

    Where items lately came in company, the first of the next wait for as many, at most `gather_s`
    seconds; a lone one is asked for at once. A busy process pays a little time for far fewer round
    trips.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        at_once: int,
        most_waiting: int,
        gather_s: float,
        refusal: Callable[[], Exception],
        weigh: Callable[[Item], int] | None = None,
        wanted: Callable[[], int] | None = None,
    ) -> None:
        """`ask` gives an answer for each of its items, in their order.

        A question carries items of `at_once` in all, each of which `weigh`s 1 by itself, and one
        item at least. More than `most_waiting` are not let wait: `refusal` makes what is raised.
        `wanted` tells for how many to wait, where it is known better than by what came lately.
        """
        self._ask = ask
        self._at_once = at_once
        self._most_waiting = most_waiting
        self._gather_s = gather_s
        self._refusal = refusal
        self._weigh = weigh
        self._wanted = wanted or self._of_late
        self._crowd = 0
        self._answered_s = 0.0
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._enough: asyncio.Future[None] | None = None
        self._enough_at = 0
        self._asking: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether no more may wait."""
        return len(self._waiting) >= self._most_waiting

    async def ask(self, item: Item) -> Answer:
        """The answer for `item`. Raises what asking raises, for all that were asked for at once."""
        return await self.put(item)

    def put(self, item: Item) -> asyncio.Future[Answer]:
        """As `ask`, to be awaited later. Raises the refusal."""
        if self.full:
            raise self._refusal()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all(), name="together")
        elif self._enough is not None and len(self._waiting) >= self._enough_at:
            self._stop_waiting(self._enough)
        return answer

    async def stop(self, answer: Callable[[Item], Answer]) -> None:
        """Give up the question under way; whoever waits gets the `answer` of now."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        waiting, self._waiting = self._waiting, []
        for item, future in waiting:
            if not future.done():
                future.set_result(answer(item))

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                batch = self._take()
                try:
                    answers = await self._ask([item for item, _ in batch])
                    for (_, future), answer in zip(batch, answers, strict=True):
                        if not future.done():
                            future.set_result(answer)
                except Exception as error:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                except BaseException:
                    self._waiting[:0] = batch
                    raise
                finally:
                    # Fewer once is chance: what is waited for goes down by and by.
                    self._crowd = max(len(batch), self._crowd * 3 // 4)
                    self._answered_s = asyncio.get_running_loop().time()
        finally:
            self._asking = None

    async def _gather(self) -> None:
        """Wait for company, if there is to be any."""
        # Those who ask in the same turn of the loop belong together in any case.
        await asyncio.sleep(0)
        wanted = min(self._wanted(), self._at_once)
        if len(self._waiting) >= wanted or not self._gather_s:
            return
        loop = asyncio.get_running_loop()
        self._enough, self._enough_at = loop.create_future(), wanted
        alarm = loop.call_later(self._gather_s, self._stop_waiting, self._enough)
        try:
            await self._enough
        finally:
            self._enough = None
            alarm.cancel()

    @staticmethod
    def _stop_waiting(enough: asyncio.Future[None]) -> None:
        if not enough.done():
            enough.set_result(None)

    def _of_late(self) -> int:
        idle_s = asyncio.get_running_loop().time() - self._answered_s
        return self._crowd if idle_s < LONG_AGO * self._gather_s else 0

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        size = self._at_once
        if self._weigh is not None:
            size = load = 0
            for item, _ in self._waiting:
                load += self._weigh(item)
                if size and load > self._at_once:
                    break
                size += 1
        batch = self._waiting[:size]
        del self._waiting[:size]
        return batch
