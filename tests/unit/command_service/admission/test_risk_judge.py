"""Whatever the assessor does, the judge answers in time and as policy says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import pytest

from command_service.admission.few_at_once import AT_ONCE
from command_service.admission.risk.judge import SILENT_RULE, OnSilence, RiskJudge
from command_service.admission.risk.port import Answer, Ending, NoAnswerError, Question
from paycore.domain.accounts import AccountId
from paycore.domain.errors import RETRYABLE, PaycoreError, Reason
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import (
    Refused,
    RiskDecision,
    RiskVerdict,
    TransferCommand,
    TransferKind,
)
from paycore.runtime.clock import SystemClock

CLOCK = SystemClock()
TIMEOUT_S = 0.05
Say = Callable[[], Awaitable[RiskVerdict]]


class Assessor:
    """Says what the test gives it to say."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.told: list[tuple[set[int], Ending]] = []

    async def assess(self, question: Question, deadline_s: float) -> RiskVerdict:
        assert deadline_s <= question.posts_until_s
        return await self._say()

    def ended(self, tickets: Collection[int], ending: Ending) -> None:
        self.told.append((set(tickets), ending))


class Whole(Assessor):
    """Says to a group what the test gives it to say, after a while."""

    def __init__(self, answers: Sequence[Answer], after_s: float = 0.0) -> None:
        super().__init__(silent)
        self._answers = answers
        self._after_s = after_s

    async def assess_group(
        self, questions: Sequence[Question], deadline_s: float
    ) -> Sequence[Answer]:
        await asyncio.sleep(self._after_s)
        return self._answers


def judge(say: Say, on_silence: OnSilence = OnSilence.REFUSE, at_once: int = 16) -> RiskJudge:
    return judge_by(Assessor(say), on_silence, at_once)


def judge_by(
    assessor: Assessor, on_silence: OnSilence = OnSilence.REFUSE, at_once: int = 16
) -> RiskJudge:
    return RiskJudge(assessor, CLOCK, on_silence=on_silence, timeout_s=TIMEOUT_S, at_once=at_once)


def items(count: int, *, payers: int = 1) -> list[Question]:
    """Questions about the items of one group."""
    asked = [question(item=at) for at in range(count)]
    return [
        one._replace(command=one.command._replace(debit_account=AccountId(10 + at % payers)))
        for at, one in enumerate(asked)
    ]


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


def approved(ticket: int | None = None) -> RiskVerdict:
    return RiskVerdict(RiskDecision.APPROVE, ticket=ticket)


class TestGroups:
    async def test_the_whole_is_one_question(self) -> None:
        verdicts = [approved(1), RiskVerdict(RiskDecision.DECLINE, "r"), approved(1)]
        assessor = Whole(verdicts)
        assert await judge_by(assessor, at_once=1).judge_group(items(3)) == verdicts
        assert assessor.told == []

    async def test_whoever_cannot_tell_of_the_whole_is_asked_about_each(self) -> None:
        verdicts = await judge(says(RiskDecision.APPROVE)).judge_group(items(AT_ONCE + 5))
        assert verdicts == [approved()] * (AT_ONCE + 5)

    async def test_the_first_item_without_a_verdict_refuses_all_and_frees_the_others(self) -> None:
        contention = PaycoreError(Reason.CONTENTION, "others first")
        assessor = Whole([approved(1), contention, NoAnswerError("LATE"), approved(2)])
        with pytest.raises(PaycoreError) as refused:
            await judge_by(assessor).judge_group(items(4))
        assert (refused.value.reason, refused.value.metadata["item"]) == (Reason.CONTENTION, "1")
        assert assessor.told == [({1, 2}, Ending.NOTHING_STORED)]

    async def test_silence_about_an_item_is_dealt_with_by_policy(self) -> None:
        assessor = Whole([approved(1), NoAnswerError("LATE")])
        verdicts = await judge_by(assessor, OnSilence.APPROVE).judge_group(items(2))
        assert verdicts == [approved(1), approved()]

    @pytest.mark.parametrize("answered", [False, True])
    async def test_it_has_as_much_time_as_its_payers_would(self, answered: bool) -> None:
        assessor = Whole([approved()] * 33, after_s=1.5 * TIMEOUT_S)
        payers = AT_ONCE + 1 if answered else AT_ONCE
        asked = judge_by(assessor).judge_group(items(33, payers=payers))
        if answered:
            assert await asked == [approved()] * 33
        else:
            with pytest.raises(PaycoreError) as refused:
                await asked
            assert refused.value.reason is Reason.RISK_UNAVAILABLE

    async def test_what_was_let_through_of_one_given_up_is_freed(self) -> None:
        told = iter(range(100))

        async def say() -> RiskVerdict:
            ticket = next(told)
            await asyncio.sleep(0 if ticket < AT_ONCE else 60)
            return approved(ticket)

        assessor = Assessor(say)
        asked = asyncio.create_task(judge_by(assessor).judge_group(items(2 * AT_ONCE)))
        await asyncio.sleep(TIMEOUT_S / 2)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert assessor.told == [(set(range(AT_ONCE)), Ending.NOTHING_STORED)]


async def test_the_end_of_what_was_let_through_is_told_and_of_nothing_else() -> None:
    assessor = Assessor(silent)
    one = judge_by(assessor)
    command = question().command
    refused = Refused(PaycoreError(Reason.VERSION_MISMATCH, "another version"))
    one.ended(command, refused)
    one.ended(command._replace(risk=approved()), refused)
    one.ended(command._replace(risk=approved(3)), refused)
    assert assessor.told == [({3}, Ending.NOTHING_STORED)]
