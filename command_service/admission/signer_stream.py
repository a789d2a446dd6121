"""Asks the signing service over one stream: whatever waits when it is free goes in one message.

A call of its own for each question costs both sides more than the question does.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import structlog

from command_service.admission.question_stream import EndedError, QuestionStream
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import Clock
from paycore.runtime.errors import from_rpc_error, to_rpc_error
from paycore.runtime.metric_definitions import Named, counter, gauge
from paycore.signing.v1 import signing_service_pb2 as pb

RENEW_AFTER_S = 30.0
"""After so long the next question begins another stream, in seconds: a stream has moved to a new
certificate's channel well before the old channel is closed (RETIRED_FOR_S), and to whichever
process of the signing service has come meanwhile."""

SILENT_AFTER_S = 0.25
"""A stream on which nothing at all was answered for so long is not asked again, in seconds."""

BY_CALL_FOR_S = 30.0
"""How long questions are calls again after a signing service that has no such stream for this
process, in seconds."""

MOST_OPEN = 1_000
"""Questions of one process that wait for answers: what the signing service lets wait is more."""

RETRY_AFTER_MS = 100

OPEN = gauge(
    "paycore_command_signer_questions",
    "Questions of streams that wait for answers.",
    unit="questions",
)
ENDED = counter(
    "paycore_command_signer_streams_ended_total",
    "Streams to the signing service that ended, by how: RENEWED, the reason, or the gRPC code.",
    unit="streams",
    labels={"how": Named("RENEWED, a reason, or a gRPC code")},
)

log = structlog.get_logger()


class SignerStream:
    """`ask` is used as the stub's Authorize is. Streams begin with the first question that needs
    one; `stop` at the end."""

    def __init__(self, stub: Any, clock: Clock) -> None:
        """`stub` is one of SigningService."""
        self._stub = stub
        self._clock = clock
        self._current: QuestionStream | None = None
        self._streams: set[QuestionStream] = set()
        self._by_call_until_s = 0.0
        OPEN.set_function(lambda: sum(stream.open for stream in self._streams))

    async def ask(self, request: pb.AuthorizeRequest, *, timeout: float) -> pb.Authorization:
        """What the signing service answers to `request` within `timeout` seconds.

        Raises grpc.RpcError, as a call would; PaycoreError OVERLOADED when too many ask. What a
        process that shuts down had not read is asked once more, of another: what it has read, it
        answers.
        """
        due_s = self._clock.monotonic_s() + timeout
        asked_again = False
        while True:
            now_s = self._clock.monotonic_s()
            if now_s < self._by_call_until_s:
                reply = await self._stub.Authorize(request, timeout=due_s - now_s)
                return reply.authorization  # type: ignore[no-any-return]  # the stub is untyped
            stream = self._stream(now_s)
            try:
                answer = await stream.ask(request, due_s - now_s)
            except EndedError as ended:
                if _takes_calls_only(ended.cause):
                    log.warning("questions go call by call", why=_how(ended.cause))
                    self._by_call_until_s = self._clock.monotonic_s() + BY_CALL_FOR_S
                elif _was_left(ended.cause) and not asked_again:
                    asked_again = True
                else:
                    raise ended.cause from None
                continue
            except grpc.aio.AioRpcError:
                # Its time-out: nobody answers on a stream whose other end is stopped or lost.
                silent_s = self._clock.monotonic_s() - max(now_s, stream.heard_s)
                if silent_s >= SILENT_AFTER_S:
                    self._leave(stream)
                raise
            if answer.HasField("refusal"):
                raise to_rpc_error(answer.refusal)
            return answer.authorization

    async def stop(self) -> None:
        """End the streams; whoever waits is answered that the signing service is not there."""
        await asyncio.gather(*(stream.stop() for stream in list(self._streams)))

    def _stream(self, now_s: float) -> QuestionStream:
        """The stream to ask on now."""
        if sum(stream.open for stream in self._streams) >= MOST_OPEN:
            raise PaycoreError(
                Reason.OVERLOADED,
                "too many approvals wait for the signing service",
                {"limit": str(MOST_OPEN)},
                retry_after_ms=RETRY_AFTER_MS,
            )
        current = self._current
        if current is not None and now_s >= current.began_s + RENEW_AFTER_S:
            self._leave(current)
        if self._current is None:
            self._current = QuestionStream(self._stub.AuthorizeStream, self._clock, self._ended)
            self._streams.add(self._current)
        return self._current

    def _leave(self, stream: QuestionStream) -> None:
        """Ask no more on `stream`; it ends when what was asked is answered."""
        if self._current is stream:
            self._current = None
        stream.finish()

    def _ended(self, stream: QuestionStream, cause: grpc.aio.AioRpcError | None) -> None:
        self._streams.discard(stream)
        if self._current is stream:
            self._current = None
        ENDED.labels(_how(cause)).inc()


def _takes_calls_only(cause: grpc.aio.AioRpcError) -> bool:
    """Whether there is no such stream for this process: the signing service, or its table of who
    may call what, is of a time before it."""
    refusal = from_rpc_error(cause)
    if refusal is None:
        return cause.code() is grpc.StatusCode.UNIMPLEMENTED
    return refusal.reason is Reason.NOT_PERMITTED


def _was_left(cause: grpc.aio.AioRpcError) -> bool:
    """Whether a process ended the stream because it shuts down, or may have."""
    refusal = from_rpc_error(cause)
    if refusal is None:
        # What grpc.aio says of its own write to a stream that has just ended; how it did is lost.
        return cause.code() is grpc.StatusCode.INTERNAL
    return refusal.reason is Reason.SHUTTING_DOWN


def _how(cause: grpc.aio.AioRpcError | None) -> str:
    if cause is None:
        return "RENEWED"
    refusal = from_rpc_error(cause)
    return cause.code().name if refusal is None else refusal.reason.value
