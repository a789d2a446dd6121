"""The questions of one stream: from their reading until their answers are taken to be sent."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from time import perf_counter

import structlog
from google.protobuf.duration_pb2 import Duration

from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.domain.step_up import Authorization
from paycore.runtime.clock import Clock
from paycore.runtime.errors import to_status
from paycore.runtime.gate import COUNTED_ONLY, unforeseen
from paycore.runtime.server import Call
from paycore.signing.v1 import signing_service_pb2 as pb
from signing_service import acting, messages
from signing_service.authorizer import Authorizer
from signing_service.events import telling
from signing_service.metrics import QUESTION_SECONDS, QUESTIONS

METHOD = "paycore.signing.v1.SigningService/AuthorizeStream"

ASKED_AS = "Authorize"
"""What security events call it: the same question, whichever way it came."""

ANSWERS_A_MESSAGE = 500
BYTES_A_MESSAGE = 1024 * 1024
"""An answer that begins below it still goes along: refusals of long groups are long."""

RETRY_AFTER_MS = 100

_ANSWERED = QUESTION_SECONDS.labels("OK")

log = structlog.get_logger()


class StreamQuestions:
    """Starts what is asked, and keeps the answers until they are taken. No question waits for
    another, and each has one answer."""

    def __init__(
        self, authorizer: Authorizer, clock: Clock, call: Call, *, most: int, longest_s: float
    ) -> None:
        """At most `most` questions wait for verdicts, for `longest_s` seconds at most."""
        self._authorizer = authorizer
        self._clock = clock
        self._call = call
        self._most = most
        self._longest_s = longest_s
        self._acting = acting.of(call, ASKED_AS)
        self._last = 0
        self._under_way: dict[int, asyncio.TimerHandle] = {}
        self._answers: deque[pb.AuthorizeAnswer] = deque()
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._left = False

    def ask(self, question: pb.AuthorizeQuestion) -> None:
        """Start on `question`, or refuse it."""
        began_s = perf_counter()
        number = question.number
        try:
            timeout_s = self._check(question)
            asked = messages.question_of(question.request)
        except PaycoreError as error:
            self._refuse(number, error, began_s)
            return
        # The tasks that start here have it from here, as has what is told when they end.
        acting.ACTING.set(self._acting._replace(request_id=self._call.request_id))
        verdict = self._authorizer.begin(asked, self._clock.monotonic_s() + timeout_s)
        self._under_way[number] = asyncio.get_running_loop().call_later(
            timeout_s, self._give_up, number, began_s
        )
        QUESTIONS.inc()
        verdict.add_done_callback(partial(self._decided, number, asked.user_id, began_s))

    async def room(self) -> None:
        """Wait while the caller does not take its answers."""
        while len(self._answers) >= self._most:
            self._taken.clear()
            await self._taken.wait()

    async def changed(self) -> None:
        """Wait for an answer, or for `wake`."""
        await self._changed.wait()
        self._changed.clear()

    def wake(self) -> None:
        """Let the one in `changed` look around."""
        self._changed.set()

    def take(self) -> list[pb.AuthorizeAnswer]:
        """What is to be sent next: as much as goes into one message."""
        taken: list[pb.AuthorizeAnswer] = []
        size = 0
        while self._answers and len(taken) < ANSWERS_A_MESSAGE and size < BYTES_A_MESSAGE:
            answer = self._answers.popleft()
            size += answer.ByteSize()
            taken.append(answer)
        self._taken.set()
        return taken

    def leave(self) -> None:
        """Keep no more answers: nobody is there to take them. What was asked is decided still."""
        self._left = True
        for alarm in self._under_way.values():
            alarm.cancel()
        QUESTIONS.dec(len(self._under_way))
        self._under_way.clear()
        self._answers.clear()

    @property
    def held(self) -> int:
        """Questions whose answers have not been taken."""
        return len(self._under_way) + len(self._answers)

    def _check(self, question: pb.AuthorizeQuestion) -> float:
        """How long `question` may take, in seconds. Raises PaycoreError."""
        if question.number <= self._last:
            raise invalid_field("number", "greater than those before it")
        self._last = question.number
        timeout_s = _seconds(question.timeout)
        if timeout_s is None:
            raise invalid_field("timeout", "longer than nothing")
        if len(self._under_way) >= self._most:
            raise PaycoreError(
                Reason.OVERLOADED,
                "too many questions of this stream wait for their verdicts",
                {"limit": str(self._most)},
                retry_after_ms=RETRY_AFTER_MS,
            )
        return min(timeout_s, self._longest_s)

    def _decided(
        self, number: int, user_id: str, began_s: float, verdict: asyncio.Task[Authorization]
    ) -> None:
        if verdict.cancelled():
            # Only the end of the process does that.
            return
        try:
            # Told also where nobody waits for the answer any more.
            with telling(user_id, self._call.client):
                authorization = verdict.result()
        except PaycoreError as error:
            refusal = error
        except Exception:
            refusal = unforeseen(METHOD, self._call.context)
        else:
            if self._end(number):
                _ANSWERED.observe(perf_counter() - began_s)
                self._answer(
                    pb.AuthorizeAnswer(
                        number=number,
                        authorization=messages.authorization_message(authorization),
                    )
                )
            return
        if self._end(number):
            self._refuse(number, refusal, began_s)

    def _give_up(self, number: int, began_s: float) -> None:
        if self._end(number):
            late = PaycoreError(Reason.DEADLINE_EXCEEDED, "the question's time-out has passed")
            self._refuse(number, late, began_s)

    def _end(self, number: int) -> bool:
        """Whether the question still waited for an answer, which it gets now."""
        alarm = self._under_way.pop(number, None)
        if alarm is None:
            return False
        alarm.cancel()
        QUESTIONS.dec()
        return True

    def _refuse(self, number: int, refusal: PaycoreError, began_s: float) -> None:
        reason = refusal.reason.value
        QUESTION_SECONDS.labels(reason).observe(perf_counter() - began_s)
        if refusal.reason not in COUNTED_ONLY:
            log.info("question refused", method=METHOD, client=self._call.client, reason=reason)
        self._answer(pb.AuthorizeAnswer(number=number, refusal=to_status(refusal)))

    def _answer(self, answer: pb.AuthorizeAnswer) -> None:
        if not self._left:
            self._answers.append(answer)
            self._changed.set()


def _seconds(timeout: Duration) -> float | None:
    """`timeout` where it is one and longer than nothing."""
    if timeout.seconds < 0 or not 0 <= timeout.nanos < 10**9:
        return None
    return timeout.seconds + timeout.nanos / 1e9 or None
