"""What waits to be sent to one watcher."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError
from query_service.watching.port import Event

MOST_WAITING = 1_000
"""Events that wait for one watcher; at the next it is behind."""


class BehindError(Exception):
    """More happened than the watcher took."""


class Subscription:
    """A bounded queue of the events of one account from `complete_below` on."""

    def __init__(self, account: AccountId, *, declines: bool, most: int = MOST_WAITING) -> None:
        self.account = account
        self._declines = declines
        self.complete_below = 0
        """Every transaction from this one on comes through here, and some below it."""
        self.joined = asyncio.Event()
        """Set once `complete_below` is known."""
        self._most = most
        self._events: deque[Event] = deque()
        self._ended: Exception | None = None
        self._woken = asyncio.Event()

    def offer(self, event: Event) -> None:
        """Put `event` behind the others; what cannot be taken ends the subscription."""
        if self._ended is not None or (event.decline is not None and not self._declines):
            return
        if len(self._events) >= self._most:
            self._events.clear()
            self.end(BehindError())
            return
        self._events.append(event)
        self._woken.set()

    def end(self, why: Exception) -> None:
        """Let whoever takes from here get `why` once nothing waits any more."""
        self._ended = self._ended or why
        self.joined.set()
        self._woken.set()

    async def take(self, within_s: float) -> Sequence[Event]:
        """All that waits, as soon as something does; nothing after `within_s` seconds.

        Raises BehindError, and what else `end` was given.
        """
        if not self._events and self._ended is None:
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._woken.wait()
        if not self._events and self._ended is not None:
            raise _again(self._ended)
        taken = list(self._events)
        self._events.clear()
        return taken


def _again(why: Exception) -> Exception:
    # Each watcher raises an exception of its own: tracebacks grow on shared ones.
    if isinstance(why, PaycoreError):
        return PaycoreError(why.reason, why.message, why.metadata, (), why.retry_after_ms)
    return BehindError()
