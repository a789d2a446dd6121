"""Has a payment judged within its time, and knows what to do when there is no verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from math import ceil
from time import perf_counter
from typing import TypeVar

import structlog

from command_service import anew
from command_service.admission.few_at_once import AT_ONCE, few_at_once
from command_service.admission.risk.endings import ending_of, tickets_of
from command_service.admission.risk.port import (
    Answer,
    Ending,
    GroupAssessor,
    NoAnswerError,
    Question,
    RiskAssessor,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.transfers import Command, Outcome, RiskDecision, RiskVerdict, TransferKind
from paycore.runtime.clock import Clock
from paycore.runtime.metric_definitions import SECONDS, Named, counter, gauge, histogram, of
from paycore.runtime.metrics import LATENCY_BUCKETS_S

SILENT_RULE = "no-answer"
"""Stands for a rule where none spoke."""

RETRY_AFTER_MS = 250
"""Wait suggested to callers while there is no verdict, in milliseconds."""

RISK_SECONDS = histogram(
    "paycore_command_risk_seconds",
    "Time of a question about risk, by answer: the decision, SILENCE or GROUP, in seconds.",
    unit=SECONDS,
    buckets=LATENCY_BUCKETS_S,
    labels={"answer": of(RiskDecision, "SILENCE", "GROUP", "NONE", Reason)},
)
RISK_SILENCE = counter(
    "paycore_command_risk_silence_total",
    "Questions about risk without a verdict.",
    unit="questions",
    labels={"cause": Named("why there was no verdict: a cause of the assessor, or a gRPC code")},
)
RISK_OVERLOADED = counter(
    "paycore_command_risk_overloaded_total",
    "Payments refused because too many were being judged.",
    unit="payments",
)
RISK_ASKING = gauge(
    "paycore_command_risk_asking",
    "Questions about risk that wait for a verdict.",
    unit="questions",
)

T = TypeVar("T")

log = structlog.get_logger()


class OnSilence(StrEnum):
    """What becomes of a payment on which there is no verdict in time.

    Only a rule's decline is stored under the key. For want of an answer nothing is stored that
    would hold for ever: DECLINE tells the caller so for good, and yet the same key, asked again by
    someone who knows better, is judged afresh.
    """

    APPROVE = "approve"
    """Post it unjudged."""
    DECLINE = "decline"
    """RISK_DECLINED, which no client tries again by itself."""
    REVIEW = "review"
    """Hold it for someone to approve or refuse; what cannot be held so is refused."""
    REFUSE = "refuse"
    """RISK_UNAVAILABLE, which clients try again."""


@dataclass(slots=True)
class _Asked:
    """One question under way, for its metrics."""

    answer: str = "NONE"


class RiskJudge:
    """Asks, a bounded number of questions at once and each within a bounded time.

    A hold that its client asked for cannot wait for a review: its approval would capture at once
    what is meant to be captured later. Where a verdict asks for it, the hold is declined. The same
    holds for the items of a group, of which the plan takes care.
    """

    def __init__(
        self,
        assessor: RiskAssessor,
        clock: Clock,
        *,
        on_silence: OnSilence,
        timeout_s: float,
        at_once: int,
    ) -> None:
        """`timeout_s` bounds one question, `at_once` how many are under way.

        A group that is judged as a whole is one of them, and has as much time as questions about
        its payers would have, AT_ONCE at a time.
        """
        self._assessor = assessor
        self._whole = assessor if isinstance(assessor, GroupAssessor) else None
        self._clock = clock
        self._on_silence = on_silence
        self._timeout_s = timeout_s
        self._at_once = at_once
        self._asking = 0
        RISK_ASKING.set_function(lambda: self._asking)

    async def judge(self, question: Question) -> RiskVerdict:
        """The verdict that goes with the payment; whoever has it owes `ended`.

        Raises PaycoreError: RISK_UNAVAILABLE or RISK_DECLINED (neither is stored) where silence is
        answered so, OVERLOADED when too many are being judged (whatever silence means: a flood
        must not get past), DEADLINE_EXCEEDED, CONTENTION.
        """
        with self._asking_about() as asked:
            answer = await self._within(
                self._timeout_s, question, partial(self._assessor.assess, question)
            )
            asked.answer = _named(answer)
        self._note_silence([answer])
        return self._verdict(question, answer)

    async def judge_group(self, questions: Sequence[Question]) -> list[RiskVerdict]:
        """The verdicts that go with the items of a group; whoever has them owes `ended`.

        Raises PaycoreError as `judge`: of the first item that is refused, with its place.
        """
        if self._whole is None:
            return await self._judge_each(questions)
        payers = {one.command.debit_account for one in questions}
        with self._asking_about() as asked:
            answers = await self._within(
                self._timeout_s * ceil(len(payers) / AT_ONCE),
                questions[0],
                partial(self._whole.assess_group, questions),
            )
            if isinstance(answers, NoAnswerError | PaycoreError):
                answers = [answers] * len(questions)
            asked.answer = "GROUP"
        self._note_silence(answers)
        verdicts: list[RiskVerdict] = []
        for question, answer in zip(questions, answers, strict=True):
            try:
                verdicts.append(self._verdict(question, answer))
            except PaycoreError as error:
                self._let_go(one for one in answers if isinstance(one, RiskVerdict))
                raise _at(question, error) from error
        return verdicts

    def ended(self, command: Command, outcome: Outcome) -> None:
        """Tell the assessor what became of a command whose payments were let through."""
        tickets = tickets_of(command)
        if tickets:
            self._assessor.ended(tickets, ending_of(outcome))

    def _let_go(self, verdicts: Iterable[RiskVerdict]) -> None:
        """Tell the assessor that what it let through is not posted."""
        tickets = {one.ticket for one in verdicts if one.ticket is not None}
        self._assessor.ended(tickets, Ending.NOTHING_STORED)

    async def _judge_each(self, questions: Sequence[Question]) -> list[RiskVerdict]:
        verdicts: dict[int, RiskVerdict] = {}
        refused: dict[int, PaycoreError] = {}

        async def check(at: int) -> None:
            if refused:
                return
            try:
                verdicts[at] = await self.judge(questions[at])
            except PaycoreError as error:
                refused[at] = error

        try:
            await few_at_once(check, range(len(questions)))
            if refused:
                first = min(refused)
                raise _at(questions[first], refused[first])
        except BaseException:
            self._let_go(verdicts.values())
            raise
        return [verdicts[at] for at in range(len(questions))]

    @contextmanager
    def _asking_about(self) -> Iterator[_Asked]:
        """Room for one question. Raises PaycoreError OVERLOADED when there is none."""
        if self._asking >= self._at_once:
            RISK_OVERLOADED.inc()
            raise PaycoreError(
                Reason.OVERLOADED,
                "too many payments are being judged",
                {"limit": str(self._at_once)},
                retry_after_ms=RETRY_AFTER_MS,
            )
        started = perf_counter()
        asked = _Asked()
        self._asking += 1
        try:
            yield asked
        finally:
            self._asking -= 1
            RISK_SECONDS.labels(asked.answer).observe(perf_counter() - started)

    async def _within(
        self, timeout_s: float, question: Question, ask: Callable[[float], Awaitable[T]]
    ) -> T | NoAnswerError | PaycoreError:
        """What `ask` gives or raises before its time, or the caller's, is up."""
        now_s = self._clock.monotonic_s()
        left_s = question.posts_until_s - now_s
        if left_s <= 0:
            return anew.deadline_passed()
        mine_s = min(timeout_s, left_s)
        try:
            async with asyncio.timeout(mine_s):
                return await ask(now_s + mine_s)
        except (NoAnswerError, PaycoreError) as error:
            return error
        except TimeoutError:
            if left_s <= timeout_s:
                # The caller has gone: nobody is left to whom silence could be explained.
                return anew.deadline_passed()
            return NoAnswerError("DEADLINE")

    def _note_silence(self, answers: Iterable[Answer]) -> None:
        for cause in {str(one) for one in answers if isinstance(one, NoAnswerError)}:
            RISK_SILENCE.labels(cause).inc()
            log.warning("no verdict on risk", cause=cause, policy=self._on_silence.value)

    def _verdict(self, question: Question, answer: Answer) -> RiskVerdict:
        """The verdict that `answer` comes to. Raises PaycoreError."""
        match answer:
            case NoAnswerError():
                return self._unanswered(question)
            case PaycoreError():
                raise answer
            case RiskVerdict(RiskDecision.REVIEW) if question.command.kind is TransferKind.HOLD:
                return answer._replace(decision=RiskDecision.DECLINE)
            case _:
                return answer

    def _unanswered(self, question: Question) -> RiskVerdict:
        match self._on_silence:
            case OnSilence.APPROVE:
                return RiskVerdict(RiskDecision.APPROVE)
            case OnSilence.REVIEW if _can_be_held(question):
                return RiskVerdict(RiskDecision.REVIEW, SILENT_RULE)
            case OnSilence.DECLINE:
                raise PaycoreError(
                    Reason.RISK_DECLINED,
                    "there is no verdict on the payment's risk, which declines it",
                    {"rule": SILENT_RULE},
                )
            case _:
                raise PaycoreError(
                    Reason.RISK_UNAVAILABLE,
                    "there is no verdict on the payment's risk now",
                    retry_after_ms=RETRY_AFTER_MS,
                )


def _can_be_held(question: Question) -> bool:
    return question.item is None and question.command.kind is not TransferKind.HOLD


def _named(answer: Answer) -> str:
    """`answer` in a word, for metrics."""
    match answer:
        case NoAnswerError():
            return "SILENCE"
        case PaycoreError():
            return answer.reason.value
        case _:
            return answer.decision.value


def _at(question: Question, error: PaycoreError) -> PaycoreError:
    """`error` with the place of the item in its group."""
    return replace(error, metadata={**error.metadata, "item": str(question.item)})
