"""Has a payment judged within its time, and knows what to do when there is no verdict."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from time import perf_counter

import structlog
from prometheus_client import Counter, Gauge, Histogram

from command_service import anew
from command_service.admission.risk.port import NoAnswerError, Question, RiskAssessor
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.transfers import RiskDecision, RiskVerdict, TransferKind
from paycore.runtime.clock import Clock
from paycore.runtime.metrics import LATENCY_BUCKETS_S

SILENT_RULE = "no-answer"
"""Stands for a rule where none spoke."""

RETRY_AFTER_MS = 250
"""Wait suggested to callers while there is no verdict, in milliseconds."""

RISK_SECONDS = Histogram(
    "paycore_command_risk_seconds",
    "Time of a question about risk, by answer: the decision, or SILENCE, in seconds.",
    ["answer"],
    buckets=LATENCY_BUCKETS_S,
)
RISK_SILENCE = Counter(
    "paycore_command_risk_silence_total", "Questions about risk without a verdict.", ["cause"]
)
RISK_OVERLOADED = Counter(
    "paycore_command_risk_overloaded_total", "Payments refused because too many were being judged."
)
RISK_ASKING = Gauge("paycore_command_risk_asking", "Questions about risk that wait for a verdict.")

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
        """`timeout_s` bounds one question, `at_once` how many are under way."""
        self._assessor = assessor
        self._clock = clock
        self._on_silence = on_silence
        self._timeout_s = timeout_s
        self._at_once = at_once
        self._asking = 0
        RISK_ASKING.set_function(lambda: self._asking)

    async def judge(self, question: Question) -> RiskVerdict:
        """The verdict that goes with the payment.

        Raises PaycoreError: RISK_UNAVAILABLE or RISK_DECLINED (neither is stored) where silence is
        answered so, OVERLOADED when too many are being judged (whatever silence means: a flood
        must not get past), DEADLINE_EXCEEDED, CONTENTION.
        """
        if self._asking >= self._at_once:
            RISK_OVERLOADED.inc()
            raise PaycoreError(
                Reason.OVERLOADED,
                "too many payments are being judged",
                {"limit": str(self._at_once)},
                retry_after_ms=RETRY_AFTER_MS,
            )
        started = perf_counter()
        answer = "NONE"
        self._asking += 1
        try:
            verdict = await self._ask(question)
            answer = verdict.decision.value
        except NoAnswerError as silence:
            answer = "SILENCE"
            RISK_SILENCE.labels(str(silence)).inc()
            log.warning("no verdict on risk", cause=str(silence), policy=self._on_silence.value)
            return self._unanswered(question)
        except PaycoreError as error:
            answer = error.reason.value
            raise
        finally:
            self._asking -= 1
            RISK_SECONDS.labels(answer).observe(perf_counter() - started)
        if verdict.decision is RiskDecision.REVIEW and question.command.kind is TransferKind.HOLD:
            return RiskVerdict(RiskDecision.DECLINE, verdict.rule)
        return verdict

    async def _ask(self, question: Question) -> RiskVerdict:
        now_s = self._clock.monotonic_s()
        left_s = question.posts_until_s - now_s
        if left_s <= 0:
            raise anew.deadline_passed()
        timeout_s = min(self._timeout_s, left_s)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._assessor.assess(question, now_s + timeout_s)
        except TimeoutError:
            if left_s <= self._timeout_s:
                # The caller has gone: nobody is left to whom silence could be explained.
                raise anew.deadline_passed() from None
            raise NoAnswerError("DEADLINE") from None

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
