"""What stands before each method: identity, access, deadline, limit, errors, counts.

All of it in one wrapper a method: interceptors cost an await each.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from math import inf
from time import perf_counter
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc_status import rpc_status
from prometheus_client import Counter

from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.runtime import metrics
from paycore.runtime.access import AccessTable
from paycore.runtime.calls import (
    Call,
    Context,
    Cost,
    Handler,
    Limiter,
    Method,
    StreamHandler,
    WatchHandler,
    request_id,
)
from paycore.runtime.clock import Clock
from paycore.runtime.errors import to_status
from paycore.runtime.incoming import Draining, Incoming
from paycore.runtime.intake import Intake, decoded
from paycore.runtime.peers import Peer, Peers
from paycore.runtime.security_events import SecurityEvents, actor_of

__all__ = [
    "COUNTED_ONLY",
    "PLAIN_TEXT_CLIENT",
    "Call",
    "Context",
    "Cost",
    "Gate",
    "Limiter",
    "Method",
    "unforeseen",
]

PLAIN_TEXT_CLIENT = "anonymous"
"""The identity of every caller where the transport is plain text."""

_PLAIN_TEXT_PEER = Peer(PLAIN_TEXT_CLIENT, sys.maxsize)
COUNTED_ONLY = frozenset({Reason.RATE_LIMITED, Reason.OVERLOADED})
"""Refusals that a flood brings: a log line for each would make it worse."""

SHORTENED_BY = 0.2
"""Share of the longest time that a watch may last, by up to which it is shortened by chance."""

_ARBITRARILY_FAR_S = 10 * 365 * 86_400.0

log = structlog.get_logger()


class Gate:
    """Wraps the handlers of a server."""

    def __init__(
        self,
        access: AccessTable,
        limiter: Limiter | None,
        clock: Clock,
        *,
        insecure: bool,
        longest_call_s: float,
        longest_watch_s: float = inf,
        events: SecurityEvents | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`longest_call_s` is how far off the deadline of a call with one request and one reply is
        at most: whoever gives it more time gets an answer by then. `longest_watch_s` is how long
        replies to one request go on at most. `events` hear of refusals."""
        self._access = access
        self._longest_watch_s = longest_watch_s
        self._chance = chance
        self._longest_call_s = longest_call_s
        self._insecure = insecure
        self._limiter = limiter
        self._clock = clock
        self._peers = Peers(clock)
        self._events = events
        self._draining = Draining()
        self._intake = Intake()
        self._under_way = 0
        # Asked when somebody looks: counting twice would cost each call.
        metrics.UNDER_WAY.set_function(lambda: self._under_way)

    def guard(
        self, method: Method, handler: Handler
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        """`handler` behind identity, access, deadline and limit, with errors mapped and counted."""
        full_name, service, name = method.full_name, method.service, method.name
        request_class = method.request_class
        seconds = metrics.CALL_SECONDS.labels(full_name)
        succeeded, cancelled = _ends(full_name)
        limiter, clock, longest_s = self._limiter, self._clock, self._longest_call_s
        intake = self._intake

        async def answer(raw: bytes, context: Context) -> bytes:
            started = perf_counter()
            client: str | None = None
            request: Message | None = None
            taken = 0
            self._under_way += 1
            try:
                client = self._identify(context).identity
                self._check_access(client, service, name)
                remaining_s = context.time_remaining()
                if remaining_s is None or remaining_s > _ARBITRARILY_FAR_S:
                    raise PaycoreError(
                        Reason.DEADLINE_REQUIRED, "set a deadline (grpcurl: -max-time SECONDS)"
                    )
                taken = intake.take(client, raw)
                request = decoded(request_class, raw)
                if limiter is not None:
                    await limiter.admit(client, method, request)
                call = Call(client, clock.monotonic_s() + min(remaining_s, longest_s), context)
                reply = await handler(request, call)
                succeeded.inc()
                return reply.SerializeToString()
            except PaycoreError as error:
                refusal = error
            except asyncio.CancelledError:
                cancelled.inc()
                raise
            except Exception:
                refusal = unforeseen(full_name, context)
            finally:
                self._under_way -= 1
                if taken and client is not None:
                    intake.leave(client, taken)
                seconds.observe(perf_counter() - started)
            await self._refuse(full_name, client, refusal, context, request)
            raise AssertionError("an aborted call does not go on")

        return answer

    def guard_stream(
        self, method: Method, handler: StreamHandler
    ) -> Callable[[Any, Context], Awaitable[None]]:
        """As `guard` for requests and replies that both come one by one, without end or deadline.

        The limit holds for each request: a caller over its rate is read from more slowly. When the
        server drains, the requests end for the handler, and what it answered to them is followed by
        SHUTTING_DOWN.
        """
        full_name = method.full_name
        succeeded, cancelled = _ends(full_name)
        streams = metrics.STREAMS.labels(full_name)

        async def answer(_: object, context: Context) -> None:
            client: str | None = None
            self._under_way += 1
            streams.inc()
            try:
                peer = self._identify(context)
                client = peer.identity
                self._check_access(client, method.service, method.name)
                incoming = Incoming(context, self._draining)
                requests = self._requests(incoming, method, peer)
                call = Call(client, self._deadline_s(context), context)
                # A handler is an async generator; as an iterator its type has no aclose.
                async with aclosing(handler(requests, call)) as replies:  # type: ignore[type-var]
                    async for reply in replies:
                        await context.write(reply.SerializeToString())
                if not incoming.cut_off:
                    succeeded.inc()
                    return
                refusal = _shutting_down()
            except PaycoreError as error:
                refusal = error
            except asyncio.CancelledError:
                cancelled.inc()
                raise
            except grpc.aio.InternalError as error:
                # A write to a caller that has just gone; the cancellation would have followed.
                cancelled.inc()
                raise asyncio.CancelledError from error
            except Exception:
                refusal = unforeseen(full_name, context)
            finally:
                self._under_way -= 1
                streams.dec()
            await self._refuse(full_name, client, refusal, context)

        return answer

    def guard_watch(
        self, method: Method, handler: WatchHandler
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        """As `guard` for one request whose replies go on, without end or deadline.

        The stream ends well after the longest time that a watch may last, shortened by chance so
        that not all who came together come again together; with SHUTTING_DOWN as soon as the server
        drains; and with UNAUTHENTICATED when the caller's certificate does.
        """
        full_name = method.full_name
        succeeded, cancelled = _ends(full_name)
        streams = metrics.STREAMS.labels(full_name)

        async def answer(raw: bytes, context: Context) -> None:
            client: str | None = None
            life: asyncio.Timeout | None = None
            request: Message | None = None
            self._under_way += 1
            streams.inc()
            try:
                peer = self._identify(context)
                client = peer.identity
                self._check_access(client, method.service, method.name)
                request = decoded(method.request_class, raw)
                if self._limiter is not None:
                    await self._limiter.admit(client, method, request)
                call = Call(client, self._deadline_s(context), context)
                valid_s = (peer.ends_us - self._clock.now_us()) / 1_000_000
                longest_s = min(
                    self._longest_watch_s * (1 - SHORTENED_BY * self._chance()), valid_s
                )
                # They would go with the first reply: cut off there, they could not be sent again
                # with the reason, and the caller would hear none.
                await context.send_initial_metadata(())
                async with (
                    self._draining.life(longest_s) as life,
                    # A handler is an async generator; as an iterator its type has no aclose.
                    aclosing(handler(request, call)) as replies,  # type: ignore[type-var]
                ):
                    async for reply in replies:
                        await context.write(reply.SerializeToString())
                succeeded.inc()
                return
            except PaycoreError as error:
                refusal = error
            except asyncio.CancelledError:
                cancelled.inc()
                raise
            except grpc.aio.InternalError as error:
                # A write to a caller that has just gone; the cancellation would have followed.
                cancelled.inc()
                raise asyncio.CancelledError from error
            except Exception:
                if life is None or not life.expired():
                    refusal = unforeseen(full_name, context)
                elif self._draining.has_begun():
                    refusal = _shutting_down()
                elif self._clock.now_us() >= peer.ends_us:
                    refusal = _expired()
                else:
                    succeeded.inc()
                    return
            finally:
                self._under_way -= 1
                streams.dec()
            await self._refuse(full_name, client, refusal, context, request)

        return answer

    async def require_identity(self, full_name: str, context: Context) -> None:
        """End the call to a method that is open to all callers, unless its certificate names one.

        Raises what grpc.aio ends an aborted call with.
        """
        try:
            self._identify(context)
        except PaycoreError as error:
            await self._refuse(full_name, None, error, context)

    async def decoded(
        self, full_name: str, decode: Callable[[bytes], Any], raw: bytes, context: Context
    ) -> Any:
        """What `raw` says to a method that is open to all callers; ends the call where it is
        nothing. Raises what grpc.aio ends an aborted call with."""
        try:
            return decode(raw)
        except DecodeError:
            refusal = invalid_field("", "not a request of this method")
            return await self._refuse(full_name, None, refusal, context)

    async def failed(self, full_name: str, context: Context) -> Any:
        """Log the exception being handled, which a method that is open to all callers raised, count
        it and end the call as INTERNAL. Raises what grpc.aio ends an aborted call with."""
        return await self._refuse(full_name, None, unforeseen(full_name, context), context)

    def drain(self) -> None:
        """End the requests of every stream; what was read of them is still answered."""
        self._draining.begin()

    @property
    def under_way(self) -> int:
        """Handlers that have not ended."""
        return self._under_way

    async def _requests(
        self, incoming: Incoming, method: Method, peer: Peer
    ) -> AsyncIterator[Message]:
        async for raw in incoming:
            if self._clock.now_us() >= peer.ends_us:
                raise _expired()
            request = decoded(method.request_class, raw)
            await self._admit(peer.identity, method, request)
            yield request

    async def _admit(self, client: str, method: Method, request: Message) -> None:
        """Wait until `client` is within its rate."""
        while self._limiter is not None:
            try:
                await self._limiter.admit(client, method, request)
            except PaycoreError as error:
                if error.reason is not Reason.RATE_LIMITED or "burst" in error.metadata:
                    raise
                await asyncio.sleep((error.retry_after_ms or 1) / 1_000)
            else:
                return

    def _deadline_s(self, context: Context) -> float:
        remaining_s = context.time_remaining()
        return inf if remaining_s is None else self._clock.monotonic_s() + remaining_s

    def _identify(self, context: Context) -> Peer:
        return _PLAIN_TEXT_PEER if self._insecure else self._peers.identify(context)

    def _check_access(self, client: str, service: str, method: str) -> None:
        if not self._access.allows(client, service, method):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{client} may not call {service}/{method}",
                {"method": f"{service}/{method}", "client": client},
            )

    async def _refuse(
        self,
        full_name: str,
        client: str | None,
        refusal: PaycoreError,
        context: Context,
        request: Message | None = None,
    ) -> None:
        """Count, log and end the call. Raises what grpc.aio ends an aborted call with."""
        metrics.CALLS.labels(full_name, refusal.reason.value).inc()
        caller_id = request_id(context)
        if refusal.reason not in COUNTED_ONLY:
            log.info(
                "call refused",
                method=full_name,
                client=client,
                reason=refusal.reason.value,
                request_id=caller_id,
            )
        if self._events is not None:
            self._events.refused(
                refusal, client, full_name, context.peer(), caller_id, actor_of(request)
            )
        # Untyped: the published stubs of grpc.aio lack abort_with_status.
        untyped: Any = context
        await untyped.abort_with_status(rpc_status.to_status(to_status(refusal)))


def _ends(full_name: str) -> tuple[Counter, Counter]:
    """What counts calls that were answered, and those whose callers left; INTERNAL is shown too."""
    metrics.CALLS.labels(full_name, Reason.INTERNAL.value)
    return metrics.CALLS.labels(full_name, "OK"), metrics.CALLS.labels(full_name, "CANCELLED")


def _shutting_down() -> PaycoreError:
    return PaycoreError(Reason.SHUTTING_DOWN, "this process is shutting down", retry_after_ms=0)


def _expired() -> PaycoreError:
    return PaycoreError(
        Reason.UNAUTHENTICATED, "the certificate has expired since the stream began"
    )


def unforeseen(full_name: str, context: Context) -> PaycoreError:
    """What a caller hears of the exception being handled, which is logged."""
    error_id = secrets.token_hex(8)
    log.exception(
        "call failed", method=full_name, error_id=error_id, request_id=request_id(context)
    )
    return PaycoreError(Reason.INTERNAL, f"internal error {error_id}", {"error_id": error_id})
