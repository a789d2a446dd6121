"""The way to the signing service: while it does not answer, nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.breaker import Breaker, probe_while_open
from paycore.runtime.errors import from_rpc_error
from paycore.runtime.untold import in_background

TRIPS_AFTER = 3
"""Calls in a row without an answer before no more are made."""

SILENT_AFTER_S = 0.25
"""A call that its deadline cut off says nothing about the signing service unless that answered
nobody for so long, in seconds: the call may have been short, or have waited for others' turns."""

PROBE_EVERY_S = 0.1
"""How often its health is asked for while it is away, in seconds."""

PROBE_WITHIN_S = 0.5
"""How long an answer about its health may take, in seconds."""

RETRY_AFTER_MS = 250
"""Wait suggested to callers while the signing service is away."""

RECONNECT: tuple[tuple[str, int], ...] = (("grpc.max_reconnect_backoff_ms", 200),)
"""Of its channel: its return is to be noticed in well under a second."""

_CANNOT_ANSWER = frozenset({Reason.DATABASE_UNAVAILABLE, Reason.SHUTTING_DOWN})

T = TypeVar("T")


class SignerLink:
    """A breaker before one channel. `start` before use, `stop` at the end."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._health = health_pb2_grpc.HealthStub(channel)
        self._breaker = Breaker("signing", trips_after=TRIPS_AFTER)
        self._heard = 0.0
        """By perf_counter: the last answer to anybody."""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch; the signing service need not be there yet."""
        probing = probe_while_open(
            self._breaker, self._probe, every_s=PROBE_EVERY_S, within_s=PROBE_WITHIN_S
        )
        self._task = in_background(probing, "signing-probe")

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def call(
        self, method: Callable[..., Awaitable[T]], request: Any, *, timeout_s: float
    ) -> T:
        """The answer of `method`, one of a stub on the channel.

        Raises grpc.RpcError as it does, and at once PaycoreError SIGNER_UNAVAILABLE while the
        signing service is away.
        """
        permit = self._breaker.permit()
        if permit is None:
            raise PaycoreError(
                Reason.SIGNER_UNAVAILABLE,
                "the signing service is away",
                retry_after_ms=RETRY_AFTER_MS,
            )
        began = perf_counter()
        try:
            reply = await method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            self._learn(permit, error, began)
            raise
        except BaseException:
            self._breaker.unknown(permit)
            raise
        self._answered(permit)
        return reply

    def _answered(self, permit: int) -> None:
        self._heard = perf_counter()
        self._breaker.succeeded(permit)

    def _learn(self, permit: int, error: grpc.RpcError, began: float) -> None:
        if getattr(error, "code", lambda: None)() is grpc.StatusCode.DEADLINE_EXCEEDED:
            # By the transport's clock or the signing service's own.
            if perf_counter() - max(began, self._heard) < SILENT_AFTER_S:
                self._breaker.unknown(permit)
            else:
                self._breaker.failed(permit)
            return
        refusal = from_rpc_error(error)
        if refusal is None or refusal.reason in _CANNOT_ANSWER:
            self._breaker.failed(permit)
        else:
            self._answered(permit)

    async def _probe(self) -> None:
        reply = await self._health.Check(
            health_pb2.HealthCheckRequest(), timeout=PROBE_WITHIN_S, wait_for_ready=False
        )
        if reply.status != health_pb2.HealthCheckResponse.SERVING:
            raise ConnectionError("the signing service does not serve")
