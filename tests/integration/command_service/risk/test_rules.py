"""The daily limit and new payees, judged by what is really in the tables."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from command_service.admission.risk import figures
from command_service.admission.risk.decisions import DAILY_LIMIT, NEW_PAYEE
from command_service.admission.risk.endings import ending_of
from command_service.admission.risk.port import Ending, NoAnswerError, Question
from command_service.admission.risk.rule_table import RiskRuleTable
from command_service.admission.risk.rules import RulesAssessor
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.money import Minor
from paycore.domain.transfers import (
    ChildCommand,
    RiskDecision,
    RiskVerdict,
    Transfer,
    TransferCommand,
    TransferKind,
)
from paycore.runtime.clock import Clock, SystemClock
from tests.integration.command_service.risk.conftest import SetRules, rules_assessor
from tests.support.command_core import CLIENT, CommandCore, payment, posted

DAY_S = 86_400
APPROVED = RiskVerdict(RiskDecision.APPROVE)
OVER = RiskVerdict(RiskDecision.DECLINE, DAILY_LIMIT)


@dataclass
class Later:
    """The real clocks, some days on."""

    days: int

    def now_us(self) -> int:
        return SystemClock().now_us() + self.days * DAY_S * 1_000_000

    def monotonic_s(self) -> float:
        return SystemClock().monotonic_s()


def question(command: TransferCommand, item: int | None = None) -> Question:
    return Question(command, SystemClock().monotonic_s() + 5, item)


async def judged(assessor: RulesAssessor, command: TransferCommand) -> RiskVerdict:
    """The verdict on a payment that then comes to nothing."""
    verdict = await let_through(assessor, command)
    if verdict.ticket is not None:
        assessor.ended([verdict.ticket], Ending.NOTHING_STORED)
    return verdict._replace(ticket=None)


async def let_through(assessor: RulesAssessor, command: TransferCommand) -> RiskVerdict:
    """The verdict on a payment that counts from now on."""
    one = question(command)
    return await assessor.assess(one, one.posts_until_s)


def ticket_of(verdict: RiskVerdict) -> int:
    assert verdict.ticket is not None
    return verdict.ticket


async def hold(core: CommandCore, payer: AccountId, payee: AccountId, amount: int) -> Transfer:
    expires_at_us = core.clock.now_us() + 60_000_000
    asked = payment(payer, payee, amount, kind=TransferKind.HOLD, expires_at_us=expires_at_us)
    (done,) = posted([await core.one(asked)])
    return done.transfer


async def follow(core: CommandCore, parent: Transfer, kind: TransferKind, amount: int) -> None:
    asked = ChildCommand(
        CLIENT,
        f"{kind}/{parent.id}",
        b"",
        kind,
        parent.id,
        parent.debit_account,
        parent.credit_account,
        parent.currency,
        Minor(amount) if kind is TransferKind.CAPTURE else None,
    )
    posted([await core.one(asked)])


class TestDailyLimit:
    async def test_what_is_not_ruled_is_approved(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules
    ) -> None:
        _, a, b = await core.open(2)
        assert await judged(assessor, payment(a, b, 10**9)) == APPROVED
        await set_rules(currency="USD", daily_limit=0)
        assert await judged(assessor, payment(a, b, 10**9)) == APPROVED

    @pytest.mark.parametrize("decision", ["DECLINE", "REVIEW"])
    async def test_the_last_unit_passes_and_the_next_does_not(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules, decision: str
    ) -> None:
        _, a, b = await core.open(2)
        await set_rules(daily_limit=100, daily_decision=decision)
        posted([await core.one(payment(a, b, 60))])
        assert await judged(assessor, payment(a, b, 41, key="k")) == RiskVerdict(
            RiskDecision(decision), DAILY_LIMIT
        )
        assert await judged(assessor, payment(a, b, 40, key="k")) == APPROVED
        assert await judged(assessor, payment(b, a, 100)) == APPROVED

    async def test_yesterday_does_not_count(
        self,
        core: CommandCore,
        set_rules: SetRules,
        table: RiskRuleTable,
    ) -> None:
        _, a, b = await core.open(2)
        await set_rules(daily_limit=100, daily_decision="DECLINE")
        posted([await core.one(payment(a, b, 100))])
        clock: Clock = Later(1)
        assert await judged(rules_assessor(core.pool, table, clock), payment(a, b, 100)) == APPROVED
        assert await judged(rules_assessor(core.pool, table, Later(0)), payment(a, b, 1)) == OVER

    async def test_what_is_held_counts_until_it_is_given_back(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules
    ) -> None:
        _, a, b = await core.open(2)
        await set_rules(daily_limit=100, daily_decision="DECLINE")
        first = await hold(core, a, b, 70)
        assert await judged(assessor, payment(a, b, 31)) == OVER
        await follow(core, first, TransferKind.CAPTURE, 50)
        assert await judged(assessor, payment(a, b, 51)) == OVER
        second = await hold(core, a, b, 50)
        assert await judged(assessor, payment(a, b, 1)) == OVER
        await follow(core, second, TransferKind.RELEASE, 50)
        assert await judged(assessor, payment(a, b, 50)) == APPROVED

    async def test_what_a_hold_of_another_day_gives_back_does_not_count(
        self, core: CommandCore, set_rules: SetRules, table: RiskRuleTable
    ) -> None:
        _, a, b = await core.open(2)
        await set_rules(daily_limit=100, daily_decision="DECLINE")
        old = await hold(core, a, b, 70)
        tomorrow = Later(1)
        assessor = rules_assessor(core.pool, table, tomorrow)
        assert await judged(assessor, payment(a, b, 101)) == OVER
        await follow(core, old, TransferKind.RELEASE, 70)
        assert await judged(assessor, payment(a, b, 101)) == OVER

    async def test_many_debits_are_added_up_page_by_page(
        self,
        core: CommandCore,
        assessor: RulesAssessor,
        set_rules: SetRules,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(figures, "PAGE", 3)
        _, a, b = await core.open(2)
        await set_rules(daily_limit=100, daily_decision="DECLINE")
        posted(await core.submit(*(payment(a, b, 10) for _ in range(9))))
        assert await judged(assessor, payment(a, b, 11)) == OVER
        assert await judged(assessor, payment(a, b, 10)) == APPROVED
        monkeypatch.setattr(figures, "MOST_IN_A_DAY", 9)
        with pytest.raises(NoAnswerError, match="TOO_MANY_DEBITS"):
            await judged(assessor, payment(a, b, 1))

    async def test_of_those_at_once_no_more_pass_than_the_limit_allows(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules
    ) -> None:
        _, a, b = await core.open(2, balance=10_000)
        await set_rules(daily_limit=100, daily_decision="DECLINE")
        passed: list[int] = []

        async def pay(at: int) -> None:
            asked = payment(a, b, 30)
            for _ in range(200):
                try:
                    verdict = await let_through(assessor, asked)
                except PaycoreError as error:
                    if error.reason is not Reason.CONTENTION:
                        raise
                    await asyncio.sleep(0.01)
                    continue
                if verdict.decision is RiskDecision.APPROVE:
                    outcome = await core.one(asked)
                    assessor.ended([ticket_of(verdict)], ending_of(outcome))
                    posted([outcome])
                    passed.append(at)
                else:
                    assert verdict == OVER
                return
            raise AssertionError("never judged")

        await asyncio.gather(*(pay(at) for at in range(20)))
        assert len(passed) == 3
        assert len(assessor.in_flight) == 0

    async def test_what_was_let_through_counts_until_its_outcome_is_told(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules
    ) -> None:
        _, a, b = await core.open(2, balance=10)
        await set_rules(daily_limit=100, daily_decision="DECLINE")
        too_much = payment(a, b, 90)
        verdict = await let_through(assessor, too_much)
        with pytest.raises(PaycoreError) as refused:
            await judged(assessor, payment(a, b, 11))
        assert refused.value.reason is Reason.CONTENTION
        assert await judged(assessor, payment(a, b, 10)) == APPROVED
        # The ledger declines it: it has an outcome, and takes nothing of the limit.
        assessor.ended([ticket_of(verdict)], ending_of(await core.one(too_much)))
        assert await judged(assessor, payment(a, b, 100)) == APPROVED

    async def test_what_is_in_doubt_counts_until_it_is_found(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules
    ) -> None:
        _, a, b = await core.open(2)
        await set_rules(daily_limit=100, daily_decision="DECLINE")
        lost = payment(a, b, 90)
        verdict = await let_through(assessor, lost)
        assessor.ended([ticket_of(verdict)], Ending.UNKNOWN)
        with pytest.raises(PaycoreError) as refused:
            await judged(assessor, payment(a, b, 11))
        assert refused.value.reason is Reason.CONTENTION
        posted([await core.one(lost)])
        assert await judged(assessor, payment(a, b, 11)) == OVER
        assert await judged(assessor, payment(a, b, 10)) == APPROVED
        assert len(assessor.in_flight) == 0

    async def test_the_items_of_a_group_count_with_each_other(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules
    ) -> None:
        _, a, b = await core.open(2)
        await set_rules(daily_limit=100, daily_decision="DECLINE")
        group = [question(payment(a, b, 40, key="group"), item) for item in range(3)]
        for _ in range(2):  # an attempt again begins anew
            answers = await assessor.assess_group(group, group[0].posts_until_s)
            verdicts = [one for one in answers if isinstance(one, RiskVerdict)]
            assert [one.decision for one in verdicts] == ["APPROVE", "APPROVE", "DECLINE"]
            assert verdicts[0].ticket == verdicts[1].ticket
            assert verdicts[2].ticket is None
        with pytest.raises(PaycoreError) as refused:
            await judged(assessor, payment(a, b, 21))
        assert refused.value.reason is Reason.CONTENTION
        assert await judged(assessor, payment(a, b, 20)) == APPROVED

    async def test_groups_with_the_same_payers_do_not_wait_for_each_other_for_ever(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules
    ) -> None:
        _, a, b, c = await core.open(3)
        await set_rules(daily_limit=100, daily_decision="DECLINE")

        async def judge(payers: tuple[AccountId, ...], key: str) -> None:
            asked = [question(payment(one, c, 1, key=key), at) for at, one in enumerate(payers)]
            await assessor.assess_group(asked, asked[0].posts_until_s)

        async with asyncio.timeout(60):
            await asyncio.gather(
                *(judge((a, b) if at % 2 else (b, a), f"group-{at}") for at in range(40))
            )
        # Two of each group are under way.
        assert len(assessor.in_flight) == 80


class TestNewPayees:
    async def test_a_first_payment_above_the_amount_is_decided_so(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules
    ) -> None:
        _, a, b, c = await core.open(3)
        await set_rules(new_payee_above=50)
        assert await judged(assessor, payment(a, b, 50)) == APPROVED
        assert await judged(assessor, payment(a, b, 51)) == RiskVerdict(
            RiskDecision.REVIEW, NEW_PAYEE
        )
        posted([await core.one(payment(a, b, 1))])
        assert await judged(assessor, payment(a, b, 51)) == APPROVED
        assert await judged(assessor, payment(a, c, 51)) == RiskVerdict(
            RiskDecision.REVIEW, NEW_PAYEE
        )
        assert await judged(assessor, payment(b, a, 51)) == RiskVerdict(
            RiskDecision.REVIEW, NEW_PAYEE
        )

    async def test_a_payee_for_whom_money_is_only_held_is_new(
        self, core: CommandCore, assessor: RulesAssessor, set_rules: SetRules
    ) -> None:
        _, a, b = await core.open(2)
        await set_rules(new_payee_above=0, new_payee_decision="DECLINE")
        held = await hold(core, a, b, 10)
        assert await judged(assessor, payment(a, b, 1)) == RiskVerdict(
            RiskDecision.DECLINE, NEW_PAYEE
        )
        await follow(core, held, TransferKind.CAPTURE, 10)
        assert await judged(assessor, payment(a, b, 1)) == APPROVED

    async def test_a_payee_of_long_ago_is_new_again(
        self,
        core: CommandCore,
        assessor: RulesAssessor,
        set_rules: SetRules,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(figures, "KNOWN_DEPTH", 2)
        _, a, b, c = await core.open(3)
        await set_rules(new_payee_above=0)
        posted([await core.one(payment(a, b, 1)), await core.one(payment(a, c, 1))])
        assert await judged(assessor, payment(a, b, 1)) == APPROVED
        posted([await core.one(payment(a, c, 1))])
        assert await judged(assessor, payment(a, b, 1)) == RiskVerdict(
            RiskDecision.REVIEW, NEW_PAYEE
        )

    @pytest.mark.parametrize(
        ("by_day", "by_payee", "spoken"),
        [
            ("REVIEW", "DECLINE", RiskVerdict(RiskDecision.DECLINE, NEW_PAYEE)),
            ("DECLINE", "REVIEW", RiskVerdict(RiskDecision.DECLINE, DAILY_LIMIT)),
            ("REVIEW", "REVIEW", RiskVerdict(RiskDecision.REVIEW, DAILY_LIMIT)),
        ],
    )
    async def test_the_stricter_rule_speaks(
        self,
        core: CommandCore,
        assessor: RulesAssessor,
        set_rules: SetRules,
        by_day: str,
        by_payee: str,
        spoken: RiskVerdict,
    ) -> None:
        _, a, b = await core.open(2)
        await set_rules(
            daily_limit=1, daily_decision=by_day, new_payee_above=1, new_payee_decision=by_payee
        )
        assert await judged(assessor, payment(a, b, 2)) == spoken
