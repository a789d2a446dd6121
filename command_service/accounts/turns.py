"""Which account commands run and wait, how often each is tried, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from command_service import anew
from command_service.posting import metrics
from command_service.posting.fair_queue import FairQueue, Verdict
from command_service.posting.store import (
    ConflictError,
    OutcomeUnknownError,
    RejectedError,
    UnreachableError,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import Clock
from paycore.runtime.untold import tell_of_fault

AT_ONCE = 2
"""Commands that are under way at once: they leave connections of the pool to reads."""

MOST_WAITING = 1_000
"""Commands that may wait for their turn, one client's at most half of them; beyond it callers get
OVERLOADED."""

RETRY_AFTER_MS = 200

T = TypeVar("T")

log = structlog.get_logger()


Turn = asyncio.Future[None]
"""Done once its command may begin, or nobody waits for it any more."""


class AccountTurns:
    """Runs account commands, a few at a time; clients that have more waiting take turns."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way = 0
        self._waiting: FairQueue[Turn] = FairQueue(MOST_WAITING, lambda _: 1)

    async def run(self, client: str, attempt: Callable[[], Awaitable[T]], deadline_s: float) -> T:
        """What `attempt` returns, tried again after conflicts and while the database is away.

        Raises PaycoreError OVERLOADED when too many wait, DEADLINE_EXCEEDED when no attempt began
        by the monotonic time `deadline_s`, CONTENTION, DATABASE_UNAVAILABLE, INTERNAL, and what
        `attempt` raises. Cancelling the caller cancels nothing that has begun.
        """
        await self._turn(client, deadline_s)
        # In a task of its own: a caller that goes away must not cut a commit.
        task = asyncio.create_task(self._with_retries(attempt, deadline_s), name="account-command")
        task.add_done_callback(lambda _: self._pass_on())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(tell_of_fault)
            raise

    async def _turn(self, client: str, deadline_s: float) -> None:
        """Return when `client`'s command may begin; `_pass_on` ends its turn."""
        if self._under_way < AT_ONCE:
            self._under_way += 1
            return
        if not self._waiting.room(client):
            raise PaycoreError(
                Reason.OVERLOADED,
                "too many account commands wait",
                {"limit": str(MOST_WAITING)},
                retry_after_ms=RETRY_AFTER_MS,
            )
        turn: Turn = asyncio.get_running_loop().create_future()
        self._waiting.add(client, [turn])
        try:
            async with asyncio.timeout(deadline_s - self._clock.monotonic_s()):
                await turn
        except BaseException as error:
            # It may have been given in the very moment in which its caller gave up.
            if turn.done() and not turn.cancelled():
                self._pass_on()
            turn.cancel()
            if isinstance(error, TimeoutError):
                raise anew.deadline_passed() from None
            raise

    def _pass_on(self) -> None:
        """Give the turn that has ended to the next command that waits."""
        self._under_way -= 1
        for turn in self._waiting.take(1, MOST_WAITING, _still_wanted, lambda _: None):
            self._under_way += 1
            turn.set_result(None)

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
                metrics.COMMAND_RETRIED[metrics.Retry.CONFLICT].inc()
                log.info("account command decided anew", cause=str(conflict))
                failure = anew.contention()
            except UnreachableError as error:
                metrics.COMMAND_RETRIED[metrics.Retry.UNREACHABLE].inc()
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


def _still_wanted(turn: Turn) -> Verdict:
    return Verdict.DROP if turn.done() else Verdict.TAKE
