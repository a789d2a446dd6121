"""A method as it is served, and what a handler may know of a call."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf.message import Message

_REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID_MAX = 64

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(slots=True)
class Call:
    """What a handler may know of the call that it answers."""

    client: str
    """Name in the caller's certificate."""
    deadline_s: float
    """Monotonic time by which the answer is due, in seconds: the caller's, or an earlier one where
    that is farther off than the server lets calls wait; infinite for a stream whose caller set
    none."""
    context: Context

    @property
    def request_id(self) -> str:
        """The caller's `x-request-id`, or one made up."""
        return request_id(self.context)


Cost = Callable[[Any], int]
"""What a request takes from its client's rate."""

Handler = Callable[[Any, Call], Awaitable[Message]]
StreamHandler = Callable[[AsyncIterator[Any], Call], AsyncIterator[Message]]
"""Takes requests as they come and yields replies; each is sent before the next is asked for."""
WatchHandler = Callable[[Any, Call], AsyncIterator[Message]]
"""Takes one request and yields replies without end, each sent before the next is asked for."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method as it is served."""

    service: str
    name: str
    request_class: type[Message]
    cost: Cost

    @property
    def full_name(self) -> str:
        return f"{self.service}/{self.name}"


class Limiter(Protocol):
    """Decides whether a client may make a call now."""

    async def admit(self, client: str, method: Method, request: Any) -> None:
        """Raise PaycoreError RATE_LIMITED when `request` exceeds a limit that holds for it.

        Its metadata have `burst` where no waiting helps.
        """
        ...


def request_id(context: Context) -> str:
    """The caller's `x-request-id`, or one made up."""
    for key, value in context.invocation_metadata() or ():
        if key == _REQUEST_ID_KEY and isinstance(value, str):
            return value[:_REQUEST_ID_MAX]
    return os.urandom(8).hex()
