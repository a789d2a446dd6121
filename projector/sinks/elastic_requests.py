"""Requests to Elasticsearch that are tried until they are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from elasticsearch import ApiError, TransportError

from projector.errors import SinkRefusedError
from projector.persistence import Persistence

_PASSING_STATUSES = frozenset({401, 403, 408, 429})
"""Refusals that a person or time cures: rights, overload. All from 500 on are such too."""

Reply = TypeVar("Reply")


class AnswerIncompleteError(Exception):
    """A reply that says that part of the work was not done."""


class ElasticPersistence(Persistence):
    """Repeats what fails in passing, for as long as it takes, and tells why meanwhile."""

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
                self.cleared(step)
                return reply
            await self.pause(step, cause, backoff)
