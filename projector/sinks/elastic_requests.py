"""Requests to Elasticsearch that are tried until they are answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from elasticsearch import ApiError, TransportError

from projector.backoff import Backoff
from projector.errors import SinkRefusedError
from projector.metrics import RETRIES
from projector.readiness import Readiness

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 5.0

_PASSING_STATUSES = frozenset({401, 403, 408, 429})
"""Refusals that a person or time cures: rights, overload. All from 500 on are such too."""

Reply = TypeVar("Reply")


class AnswerIncompleteError(Exception):
    """A reply that says that part of the work was not done."""


class Persistence:
    """Repeats what fails in passing, for as long as it takes, and tells why meanwhile."""

    def __init__(self, readiness: Readiness, chance: random.Random) -> None:
        self._readiness = readiness
        self._chance = chance

    def backoff(self) -> Backoff:
        """Delays for one piece of work."""
        return Backoff(FIRST_DELAY_S, LONGEST_DELAY_S, self._chance)

    async def request(self, step: str, attempt: Callable[[], Awaitable[Reply]]) -> Reply:
        """The reply to `attempt`, awaited anew until there is one.

        Raises SinkRefusedError when the request as such is refused.
        """
        backoff = self.backoff()
        while True:
            try:
                reply = await attempt()
            except ApiError as error:
                if error.status_code < 500 and error.status_code not in _PASSING_STATUSES:
                    raise SinkRefusedError(
                        f"{step}: status {error.status_code}, {error.error}"
                    ) from error
                cause = str(error.status_code)
            except TransportError as error:
                cause = type(error).__name__
            except AnswerIncompleteError:
                cause = "incomplete"
            else:
                self._readiness.cleared(step)
                return reply
            await self.pause(step, cause, backoff)

    async def pause(self, step: str, cause: str, backoff: Backoff) -> None:
        """Say that `step` failed for `cause`, and wait before it is tried again."""
        RETRIES.labels(step, cause).inc()
        self._readiness.obstructed(step, cause)
        await asyncio.sleep(backoff.next_s())

    def cleared(self, step: str) -> None:
        """Say that `step` works."""
        self._readiness.cleared(step)
