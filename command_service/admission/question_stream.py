"""One stream of questions to the signing service, from its beginning to its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import structlog

from paycore.runtime.clock import Clock
from paycore.runtime.metric_definitions import histogram
from paycore.signing.v1 import signing_service_pb2 as pb

QUESTIONS_A_MESSAGE = 200
"""The signing service takes 500."""

BYTES_A_MESSAGE = 1024 * 1024
"""A quarter of what a message may have; the longest question takes a tenth of it."""

LINGER_S = 3.0
"""How long a stream that is asked no more waits for its answers, in seconds: longer than any
question does (CALL_TIMEOUT_S)."""

QUESTIONS = histogram(
    "paycore_command_signer_message_questions",
    "Questions that went in one message to the signing service.",
    unit="questions",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 200),
)

log = structlog.get_logger()


class EndedError(Exception):
    """The stream ended before the question was answered."""

    def __init__(self, cause: grpc.aio.AioRpcError) -> None:
        super().__init__(cause)
        self.cause = cause
        """As a call would have ended."""


class QuestionStream:
    """Sends what waits as soon as the last message has left, in the order it was asked; answers
    come in any. A question whose caller has left is not sent."""

    def __init__(
        self,
        method: Callable[..., Any],
        clock: Clock,
        ended: Callable[[QuestionStream, grpc.aio.AioRpcError | None], None],
    ) -> None:
        """`method` is AuthorizeStream of a stub. `ended` is told once: how, where it was not
        because the stream had been finished."""
        self._clock = clock
        self._ended = ended
        self.began_s = self.heard_s = clock.monotonic_s()
        """On the monotonic clock: its beginning, and the last answer to anything."""
        self._number = 0
        self._open: dict[int, asyncio.Future[pb.AuthorizeAnswer]] = {}
        self._waiting: deque[tuple[int, pb.AuthorizeRequest, float]] = deque()
        self._wake = asyncio.Event()
        self._finished = False
        self._over = False
        self._call: Any = method(self._messages())
        self._reading = asyncio.create_task(self._read(), name="signer-stream")

    @property
    def open(self) -> int:
        """Questions that wait for their answers."""
        return len(self._open)

    async def ask(self, request: pb.AuthorizeRequest, timeout_s: float) -> pb.AuthorizeAnswer:
        """The answer to `request`. Raises EndedError, and grpc.aio.AioRpcError DEADLINE_EXCEEDED
        after `timeout_s` seconds."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[pb.AuthorizeAnswer] = loop.create_future()
        self._number += 1
        number = self._number
        self._open[number] = answer
        self._waiting.append((number, request, self._clock.monotonic_s() + timeout_s))
        self._wake.set()
        alarm = loop.call_later(timeout_s, _give_up, answer)
        try:
            return await answer
        finally:
            alarm.cancel()
            self._open.pop(number, None)

    def finish(self) -> None:
        """Take no more questions; end once those asked are answered, or nobody waits for them."""
        if self._finished:
            return
        self._finished = True
        self._wake.set()
        asyncio.get_running_loop().call_later(LINGER_S, self._call.cancel)

    async def stop(self) -> None:
        """End now."""
        self.finish()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _messages(self) -> AsyncIterator[pb.AuthorizeStreamRequest]:
        """What is sent; the transport asks for the next when the last has left."""
        while not self._over:
            message = self._next()
            if message.questions:
                QUESTIONS.observe(len(message.questions))
                yield message
            elif self._finished:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _next(self) -> pb.AuthorizeStreamRequest:
        message = pb.AuthorizeStreamRequest()
        questions, waiting, size = message.questions, self._waiting, 0
        now_s = self._clock.monotonic_s()
        while waiting and len(questions) < QUESTIONS_A_MESSAGE and size < BYTES_A_MESSAGE:
            number, request, due_s = waiting.popleft()
            if number not in self._open:
                continue
            size += request.ByteSize()
            question = questions.add(number=number, request=request)
            question.timeout.FromMicroseconds(max(1, int((due_s - now_s) * 1e6)))
        return message

    async def _read(self) -> None:
        cause = _silent(grpc.StatusCode.UNAVAILABLE, "the stream ended")
        try:
            async for reply in self._call:
                self.heard_s = self._clock.monotonic_s()
                for answer in reply.answers:
                    waiting = self._open.pop(answer.number, None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(answer)
        except grpc.aio.AioRpcError as error:
            cause = error
        except asyncio.CancelledError:
            # Of the call, where its channel was closed or it lingered for too long.
            reading = asyncio.current_task()
            if reading is not None and reading.cancelling():
                raise
        except Exception:
            log.exception("an answer of the signing service cannot be read")
        finally:
            self._over = True
            self._wake.set()
            self._call.cancel()
            for waiting in self._open.values():
                if not waiting.done():
                    waiting.set_exception(EndedError(cause))
            self._ended(self, None if self._finished else cause)


def _give_up(answer: asyncio.Future[pb.AuthorizeAnswer]) -> None:
    if not answer.done():
        answer.set_exception(_silent(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time"))


def _silent(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    """What a call ends with that was not answered."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, None)
