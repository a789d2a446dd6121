"""Work that goes on when its caller goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from paycore.runtime.untold import tell_of_fault

T = TypeVar("T")


class UnderWay:
    """Evaluations under way: a caller that leaves must not take a verdict with it, which would then
    count as a failure. Their number is bounded by what the parts they run through let in."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which ends even when the caller is cancelled."""
        task = self.start(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(tell_of_fault)
            raise

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """`work`, begun for a caller who looks at what it comes to, need not wait for it, and must
        not cancel it."""
        task = asyncio.create_task(work, name="evaluation")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self) -> None:
        """Wait until all of it has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)
