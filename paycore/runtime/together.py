"""Questions that wait at the same time are asked at once: a round trip for many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Together(Generic[Item, Answer]):
    """Asks one question after the other, each for all that came while the last one was asked.

    A lone item is asked for at once. After items that had company, the next wait for `gather_s`
    seconds for theirs: a busy process pays a little time for far fewer round trips.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        at_once: int,
        most_waiting: int,
        gather_s: float,
        refusal: Callable[[], Exception],
    ) -> None:
        """`ask` gives an answer for each of up to `at_once` items, in their order.

        More than `most_waiting` are not let wait: `refusal` makes what is raised.
        """
        self._ask = ask
        self._at_once = at_once
        self._most_waiting = most_waiting
        self._gather_s = gather_s
        self._refusal = refusal
        self._busy = False
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Answer:
        """The answer for `item`. Raises what asking raises, for all that were asked for at once."""
        if len(self._waiting) >= self._most_waiting:
            raise self._refusal()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all(), name="together")
        return await answer

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                if self._busy and len(self._waiting) < self._at_once:
                    await asyncio.sleep(self._gather_s)
                batch = self._waiting[: self._at_once]
                del self._waiting[: self._at_once]
                try:
                    answers = await self._ask([item for item, _ in batch])
                    for (_, future), answer in zip(batch, answers, strict=True):
                        if not future.done():
                            future.set_result(answer)
                except Exception as error:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                finally:
                    self._busy = len(batch) > 1 or bool(self._waiting)
        finally:
            self._asking = None
