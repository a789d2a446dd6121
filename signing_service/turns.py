"""Calls about one user take turns, so that a flood of them neither polls nor queues without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from paycore.domain.errors import PaycoreError, Reason
from signing_service.metrics import WAITING
from signing_service.policy import MAX_FAILURES

AT_ONCE = MAX_FAILURES
"""Calls about one user that proceed at once: more attempts than this are never open anyway."""

MAX_WAITING_PER_USER = 128
MAX_WAITING = 2_048

RETRY_AFTER_MS = 500


class _Turn:
    __slots__ = ("calls", "free")

    def __init__(self) -> None:
        self.calls = 0
        self.free = asyncio.Semaphore(AT_ONCE)


class Turns:
    """Turns by user, first come first served, within one process."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}
        self._calls = 0

    @asynccontextmanager
    async def of(
        self, user_id: str, timeout_s: float, out_of_time: Callable[[], PaycoreError]
    ) -> AsyncIterator[None]:
        """Wait for a turn of `user_id`, at most `timeout_s` seconds, and hold it.

        Raises PaycoreError OVERLOADED when too many wait already, `out_of_time()` when the time
        is up.
        """
        turn = self._turns.get(user_id)
        if self._calls >= MAX_WAITING or (turn and turn.calls >= MAX_WAITING_PER_USER):
            raise overloaded()
        if turn is None:
            turn = self._turns[user_id] = _Turn()
        self._calls += 1
        turn.calls += 1
        try:
            await self._wait(turn, timeout_s, out_of_time)
            try:
                yield
            finally:
                turn.free.release()
        finally:
            self._calls -= 1
            turn.calls -= 1
            if turn.calls == 0:
                del self._turns[user_id]

    async def _wait(
        self, turn: _Turn, timeout_s: float, out_of_time: Callable[[], PaycoreError]
    ) -> None:
        with WAITING.track_inprogress():
            try:
                async with asyncio.timeout(timeout_s):
                    await turn.free.acquire()
            except TimeoutError:
                raise out_of_time() from None


def overloaded() -> PaycoreError:
    """The refusal of a call that waited long enough for earlier attempts of its user."""
    return PaycoreError(
        Reason.OVERLOADED,
        "other attempts of this user are being checked",
        retry_after_ms=RETRY_AFTER_MS,
    )
