"""The bounded middle of a stream: commands under way, and outcomes that wait to be taken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from command_service.posting import metrics
from paycore.domain.errors import PaycoreError
from paycore.domain.transfers import Outcome, Refused

Answered = tuple[str, Outcome]
"""The key of a request, and its outcome."""


class StreamFlow:
    """Holds at most `window` commands of one stream, from their reading until their outcomes have
    been taken: a caller that does not take them is not read from any more."""

    def __init__(self, window: int) -> None:
        self._free = window
        self._held = 0
        self._answered: deque[Answered] = deque()
        self._changed = asyncio.Event()
        self._given_back = asyncio.Event()

    async def hold(self, count: int) -> None:
        """Wait until there is room for `count` commands more. For one reader at a time."""
        while self._free < count:
            self._given_back.clear()
            await self._given_back.wait()
        self._free -= count
        self._held += count
        metrics.STREAMED.inc(count)

    def answer(self, key: str, outcome: Outcome) -> None:
        """Add what became of one of the commands held."""
        self._answered.append((key, outcome))
        self._changed.set()

    def wake(self) -> None:
        """Let the one in `changed` look around."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait for an answer, or for `wake`."""
        await self._changed.wait()
        self._changed.clear()

    def take(self, most: int) -> list[Answered]:
        """Up to `most` outcomes that nobody has taken; their room is free after `give_back`."""
        answered = self._answered
        return [answered.popleft() for _ in range(min(most, len(answered)))]

    def give_back(self, count: int) -> None:
        """Free the room of `count` commands whose outcomes have been passed on."""
        self._free += count
        self._held -= count
        metrics.STREAMED.dec(count)
        self._given_back.set()

    @property
    def held(self) -> int:
        """Commands whose outcomes have not been passed on."""
        return self._held


@dataclass(slots=True)
class Portion:
    """Commands of a stream that went to the engine together: a Submission."""

    flow: StreamFlow
    keys: Sequence[str]
    deadline_s: float
    refused: Callable[[PaycoreError], None] | None = None
    """Told of what the plan refused."""

    def answer(self, index: int, outcome: Outcome) -> None:
        """Pass the outcome on with its key."""
        if self.refused is not None and isinstance(outcome, Refused):
            self.refused(outcome.error)
        self.flow.answer(self.keys[index], outcome)
