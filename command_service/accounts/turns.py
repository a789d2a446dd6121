"""How many account commands run and wait at once, how often each is tried, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from command_service import anew
from command_service.posting.store import (
    ConflictError,
    OutcomeUnknownError,
    RejectedError,
    UnreachableError,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import Clock

AT_ONCE = 2
"""Commands that are under way at once: they leave connections of the pool to reads."""

MOST_WAITING = 1_000
"""Commands that may wait for their turn; beyond it callers get OVERLOADED."""

T = TypeVar("T")

log = structlog.get_logger()


class AccountTurns:
    """Runs account commands, a few at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def run(self, attempt: Callable[[], Awaitable[T]], deadline_s: float) -> T:
        """What `attempt` returns, tried again after conflicts and while the database is away.

        Raises PaycoreError OVERLOADED when too many wait, DEADLINE_EXCEEDED when no attempt began
        by the monotonic time `deadline_s`, CONTENTION, DATABASE_UNAVAILABLE, INTERNAL, and what
        `attempt` raises. Cancelling the caller cancels nothing that has begun.
        """
        if self._waiting >= MOST_WAITING:
            raise PaycoreError(
                Reason.OVERLOADED,
                "too many account commands wait",
                {"limit": str(MOST_WAITING)},
                retry_after_ms=200,
            )
        self._waiting += 1
        try:
            async with asyncio.timeout(deadline_s - self._clock.monotonic_s()):
                await self._free.acquire()
        except TimeoutError:
            raise anew.deadline_passed() from None
        finally:
            self._waiting -= 1
        # In a task of its own: a caller that goes away must not cut a commit.
        task = asyncio.ensure_future(self._with_retries(attempt, deadline_s))
        task.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(task)

    def check_time(self, deadline_s: float) -> None:
        """Raise PaycoreError DEADLINE_EXCEEDED from the monotonic time `deadline_s` on."""
        if self._clock.monotonic_s() >= deadline_s:
            raise anew.deadline_passed()

    async def _with_retries(self, attempt: Callable[[], Awaitable[T]], deadline_s: float) -> T:
        failure = anew.contention()
        for wait_s in (*anew.BACKOFF_S, None):
            self.check_time(deadline_s)
            try:
                return await attempt()
            except ConflictError as conflict:
                log.info("account command decided anew", cause=str(conflict))
                failure = anew.contention()
            except UnreachableError as error:
                log.warning("account command not written", error=type(error).__name__)
                failure = anew.database_unavailable()
            except OutcomeUnknownError as unknown:
                log.error("outcome unknown", xid=str(unknown))
                raise anew.database_unavailable() from unknown
            except RejectedError as rejected:
                error_id = anew.error_id()
                log.error("row refused by the tables", rule=str(rejected), error_id=error_id)
                raise anew.internal(error_id) from None
            if wait_s is not None:
                await anew.pause(wait_s)
        raise failure
