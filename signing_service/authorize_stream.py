"""Answers AuthorizeStream: many questions on one stream, each decided and answered by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.runtime.clock import Clock
from paycore.runtime.server import Call
from paycore.signing.v1 import signing_service_pb2 as pb
from signing_service.authorizer import Authorizer
from signing_service.stream_questions import RETRY_AFTER_MS, StreamQuestions

MAX_QUESTIONS = 500
"""Questions in one message."""


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """Bounds of the streams of one process."""

    streams: int = 500
    """Streams of all clients: each process of the command service has one, or two for a moment."""
    under_way: int = 2_000
    """Questions of one stream that wait for their verdicts."""
    longest_s: float = 60.0
    """How long a question is waited for at most, in seconds, whatever its caller allows."""


class StreamServicer:
    """Asks the authorizer what streams ask, and sends on what it says as it says it."""

    def __init__(
        self, authorizer: Authorizer, clock: Clock, bounds: StreamBounds | None = None
    ) -> None:
        self._authorizer = authorizer
        self._clock = clock
        self._bounds = bounds or StreamBounds()
        self._open = 0

    async def AuthorizeStream(  # noqa: N802  # the RPC's name
        self, requests: AsyncIterator[pb.AuthorizeStreamRequest], call: Call
    ) -> AsyncIterator[pb.AuthorizeStreamResponse]:
        """Check proofs and sign.

        What is wrong with one question is its answer; a message of the wrong size ends the stream,
        once what came before it is answered. When the stream breaks, what it asked is decided and
        recorded all the same.
        """
        with self._place():
            questions = StreamQuestions(
                self._authorizer,
                self._clock,
                call,
                most=self._bounds.under_way,
                longest_s=self._bounds.longest_s,
            )
            reading = asyncio.create_task(self._read(requests, questions), name="question-reader")
            reading.add_done_callback(lambda _: questions.wake())
            try:
                while questions.held or not reading.done():
                    answers = questions.take()
                    if answers:
                        yield pb.AuthorizeStreamResponse(answers=answers)
                    elif _failed(reading):
                        break
                    else:
                        await questions.changed()
                await reading
            finally:
                reading.cancel()
                try:
                    # Is cancelled once more where the transport breaks while this waits.
                    await asyncio.gather(reading, return_exceptions=True)
                finally:
                    questions.leave()

    @staticmethod
    async def _read(
        requests: AsyncIterator[pb.AuthorizeStreamRequest], questions: StreamQuestions
    ) -> None:
        async for request in requests:
            count = len(request.questions)
            if not 1 <= count <= MAX_QUESTIONS:
                raise invalid_field("questions", f"1 to {MAX_QUESTIONS} questions, not {count}")
            for question in request.questions:
                questions.ask(question)
            await questions.room()

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One stream's place. Raises PaycoreError OVERLOADED when there is none."""
        if self._open >= self._bounds.streams:
            raise PaycoreError(
                Reason.OVERLOADED,
                "no more streams of questions",
                {"limit": str(self._bounds.streams)},
                retry_after_ms=RETRY_AFTER_MS,
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


def _failed(reading: asyncio.Task[None]) -> bool:
    """Whether reading ended in a way that leaves no sense in waiting for verdicts."""
    if not reading.done():
        return False
    return reading.cancelled() or not isinstance(reading.exception(), PaycoreError | None)
