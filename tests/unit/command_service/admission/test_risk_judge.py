"""Whatever the assessor does, the judge answers in time and as policy says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from command_service.admission.risk.judge import SILENT_RULE, OnSilence, RiskJudge
from command_service.admission.risk.port import NoAnswerError, Question
from paycore.domain.accounts import AccountId
from paycore.domain.errors import RETRYABLE, PaycoreError, Reason
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import RiskDecision, RiskVerdict, TransferCommand, TransferKind
from paycore.runtime.clock import SystemClock

CLOCK = SystemClock()
TIMEOUT_S = 0.05
Say = Callable[[], Awaitable[RiskVerdict]]


class Assessor:
    """Says what the test gives it to say."""

    def __init__(self, say: Say) -> None:
        self._say = say

    async def assess(self, question: Question, deadline_s: float) -> RiskVerdict:
        assert deadline_s <= question.posts_until_s
        return await self._say()


def judge(say: Say, on_silence: OnSilence = OnSilence.REFUSE, at_once: int = 16) -> RiskJudge:
    return RiskJudge(
        Assessor(say), CLOCK, on_silence=on_silence, timeout_s=TIMEOUT_S, at_once=at_once
    )


def question(
    kind: TransferKind = TransferKind.TRANSFER, *, within_s: float = 10.0, item: int | None = None
) -> Question:
    command = TransferCommand(
        "app", "k", b"", kind, AccountId(1), AccountId(2), Minor(5), Currency("EUR")
    )
    return Question(command, CLOCK.monotonic_s() + within_s, item)


def says(decision: RiskDecision, rule: str = "") -> Say:
    async def say() -> RiskVerdict:
        return RiskVerdict(decision, rule)

    return say


async def silent() -> RiskVerdict:
    raise NoAnswerError("UNREACHABLE")


async def slow() -> RiskVerdict:
    await asyncio.sleep(60)
    return RiskVerdict(RiskDecision.APPROVE)


@pytest.mark.parametrize("decision", list(RiskDecision))
async def test_a_verdict_is_passed_on(decision: RiskDecision) -> None:
    verdict = await judge(says(decision, "r")).judge(question())
    assert verdict == RiskVerdict(decision, "r")


async def test_a_hold_does_not_wait_for_a_review() -> None:
    verdict = await judge(says(RiskDecision.REVIEW, "r")).judge(question(TransferKind.HOLD))
    assert verdict == RiskVerdict(RiskDecision.DECLINE, "r")


@pytest.mark.parametrize("say", [silent, slow])
class TestSilence:
    async def test_that_refuses_may_be_tried_again(self, say: Say) -> None:
        with pytest.raises(PaycoreError) as refused:
            await judge(say).judge(question())
        assert refused.value.reason is Reason.RISK_UNAVAILABLE
        assert refused.value.reason in RETRYABLE
        assert refused.value.retry_after_ms

    async def test_that_declines_is_final_for_the_caller_and_no_verdict(self, say: Say) -> None:
        with pytest.raises(PaycoreError) as refused:
            await judge(say, OnSilence.DECLINE).judge(question())
        assert refused.value.reason is Reason.RISK_DECLINED
        assert refused.value.metadata == {"rule": SILENT_RULE}

    async def test_that_approves(self, say: Say) -> None:
        verdict = await judge(say, OnSilence.APPROVE).judge(question(TransferKind.HOLD))
        assert verdict == RiskVerdict(RiskDecision.APPROVE)

    async def test_that_asks_for_review(self, say: Say) -> None:
        verdict = await judge(say, OnSilence.REVIEW).judge(question())
        assert verdict == RiskVerdict(RiskDecision.REVIEW, SILENT_RULE)

    @pytest.mark.parametrize(("kind", "item"), [("HOLD", None), ("TRANSFER", 0)])
    async def test_refuses_what_cannot_wait_for_a_review(
        self, say: Say, kind: str, item: int | None
    ) -> None:
        with pytest.raises(PaycoreError) as refused:
            await judge(say, OnSilence.REVIEW).judge(question(TransferKind(kind), item=item))
        assert refused.value.reason is Reason.RISK_UNAVAILABLE


@pytest.mark.parametrize("on_silence", list(OnSilence))
@pytest.mark.parametrize("within_s", [-1.0, TIMEOUT_S / 5])
async def test_a_caller_whose_time_is_up_is_told_so(on_silence: OnSilence, within_s: float) -> None:
    with pytest.raises(PaycoreError) as refused:
        await judge(slow, on_silence).judge(question(within_s=within_s))
    assert refused.value.reason is Reason.DEADLINE_EXCEEDED


@pytest.mark.parametrize("on_silence", list(OnSilence))
async def test_a_flood_does_not_get_past(on_silence: OnSilence) -> None:
    free = asyncio.Event()

    async def wait() -> RiskVerdict:
        await free.wait()
        return RiskVerdict(RiskDecision.APPROVE)

    one = judge(wait, on_silence, at_once=2)
    under_way = [asyncio.create_task(one.judge(question())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(PaycoreError) as refused:
        await one.judge(question())
    assert refused.value.reason is Reason.OVERLOADED
    free.set()
    verdicts = [*await asyncio.gather(*under_way), await one.judge(question())]
    assert {verdict.decision for verdict in verdicts} == {RiskDecision.APPROVE}


async def test_what_hangs_on_others_is_not_silence() -> None:
    async def contended() -> RiskVerdict:
        raise PaycoreError(Reason.CONTENTION, "others first")

    with pytest.raises(PaycoreError) as refused:
        await judge(contended, OnSilence.APPROVE).judge(question())
    assert refused.value.reason is Reason.CONTENTION
