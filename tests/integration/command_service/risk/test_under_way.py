"""From the verdict to the outcome: what the rules remember is told its end, whichever it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Any, cast

import pytest

from command_service.accounts.identifiers import from_primary
from command_service.admission.admission import Admission
from command_service.admission.payers import Payers
from command_service.admission.proof import ParsedTransfer
from command_service.admission.risk.figures import LedgerFigures
from command_service.admission.risk.in_flight import InFlight
from command_service.admission.risk.judge import OnSilence, RiskJudge
from command_service.admission.risk.port import Question
from command_service.admission.risk.rule_table import RiskRuleTable
from command_service.admission.risk.rules import RulesAssessor
from command_service.admission.step_up import StepUpAdmission
from command_service.posting.engine import PostingEngine
from command_service.posting.pacing import EngineLimits
from command_service.posting.store import (
    Decide,
    LedgerStore,
    OutcomeUnknownError,
    Wants,
    no_past,
)
from command_service.servicers.intake import TransferIntake
from command_service.servicers.stream import StreamServicer
from command_service.servicers.stretches import Stretches
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.rules import Rules
from paycore.domain.transfers import (
    Declined,
    GroupCommand,
    GroupPosted,
    Outcome,
    Posted,
    Refused,
    RiskDecision,
    TransferCommand,
)
from paycore.runtime.errors import from_status
from paycore.runtime.gate import Call
from paycore.runtime.identifiers import Identifiers
from paycore.v1 import transfer_service_pb2 as pb2
from tests.integration.command_service.risk.conftest import SetRules
from tests.support import callers
from tests.support.command_core import CLIENT, CommandCore, payment
from tests.support.data_key_server import vault_without_keys
from tests.support.stream_server import NoSigner

PATIENCE_S = 60.0
QUESTION_S = 0.25
"""What a question has where nothing else is set."""

PAYMENTS = int(os.environ.get("PAYCORE_JUDGED_PAYMENTS", "2000"))
BULK = 100

RULES = Rules(
    Grants.of(
        Grant(CLIENT, action, GrantScope.OWN)
        for action in (GrantAction.TRANSFER, GrantAction.READ, GrantAction.STEP_UP_EXEMPT)
    ),
    {},
)


@dataclass(frozen=True)
class Way:
    """What a payment passes, from its admission to its outcome."""

    core: CommandCore
    assessor: RulesAssessor
    judge: RiskJudge
    admission: Admission

    def engine(
        self, store: LedgerStore | None = None, limits: EngineLimits | None = None
    ) -> PostingEngine:
        """One that tells outcomes to the judge."""
        core = self.core
        return PostingEngine(
            store or core.store, lambda: RULES, core.ids, core.clock, limits, self.judge.ended
        )

    async def pay(
        self, engine: PostingEngine, commands: Sequence[TransferCommand]
    ) -> list[Outcome]:
        """The outcomes of independent payments whose caller is patient."""
        deadline_s = self.core.clock.monotonic_s() + PATIENCE_S
        parsed = [ParsedTransfer(one, None, False) for one in commands]
        admitted, refused = await self.admission.admit_all(parsed, deadline_s)
        assert refused == {}
        return await engine.submit(admitted, deadline_s)

    async def pay_group(
        self, engine: PostingEngine, key: str, items: Sequence[TransferCommand]
    ) -> Outcome:
        """The outcome of a group."""
        deadline_s = self.core.clock.monotonic_s() + PATIENCE_S
        plain = [one._replace(key="", request_hash=b"") for one in items]
        group = GroupCommand(CLIENT, key, key.encode(), tuple(plain))
        group = await self.admission.admit_group(group, {}, deadline_s)
        (outcome,) = await engine.submit([group], deadline_s)
        return outcome


@pytest.fixture
async def way(core: CommandCore, table: RiskRuleTable) -> Way:
    # Room for 1,000 payments of one client.
    assessor = RulesAssessor(
        LedgerFigures(core.pool, core.clock), table.current, core.clock, InFlight(most=2_000)
    )
    judge = RiskJudge(assessor, core.clock, on_silence=OnSilence.REFUSE, timeout_s=5.0, at_once=256)
    admission = Admission(
        Payers(core.store, core.accounts, lambda: RULES),
        StepUpAdmission(NoSigner()),
        lambda: RULES,
        judge,
    )
    return Way(core, assessor, judge, admission)


class Cut:
    """A store whose commits end without a word, done or not."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def post(
        self, commands: Sequence[Any], journal_id: int, decide: Decide, wants: Wants = no_past
    ) -> list[Outcome]:
        await self._store.post(commands, journal_id, decide, wants)
        raise OutcomeUnknownError("1")


async def test_more_payments_pass_than_there_is_room_for_at_once(
    way: Way, set_rules: SetRules
) -> None:
    """With a minute to go each, and as fast as they are judged."""
    _, *accounts = await way.core.open(200, balance=1_000_000)
    await set_rules(daily_limit=10**9, daily_decision="DECLINE")
    engine = way.engine()
    bulks = iter(range(0, PAYMENTS, BULK))

    async def call() -> int:
        posted = 0
        for start in bulks:
            asked = [
                payment(accounts[at % 200], accounts[(at + 1) % 200], 1)
                for at in range(start, start + BULK)
            ]
            outcomes = await way.pay(engine, asked)
            posted += sum(isinstance(one, Posted) for one in outcomes)
        return posted

    started = perf_counter()
    assert sum(await asyncio.gather(*(call() for _ in range(8)))) == PAYMENTS
    print(f"{PAYMENTS / (perf_counter() - started):,.0f} judged payments a second")
    await engine.stop()
    assert len(way.assessor.in_flight) == 0


async def test_a_thousand_items_are_judged_in_the_time_of_one_question(
    way: Way, set_rules: SetRules
) -> None:
    _, payer, *payees = await way.core.open(200, balance=1_000_000)
    await set_rules(daily_limit=10**9, new_payee_above=0, new_payee_decision="DECLINE")
    assert all(
        isinstance(one, Posted)
        for one in await way.core.submit(*(payment(payer, payee, 1) for payee in payees))
    )
    judge = RiskJudge(
        way.assessor, way.core.clock, on_silence=OnSilence.REFUSE, timeout_s=QUESTION_S, at_once=1
    )
    asked = [payment(payer, payees[at % len(payees)], 1, key="group") for at in range(1_000)]
    until_s = way.core.clock.monotonic_s() + PATIENCE_S
    started = perf_counter()
    verdicts = await judge.judge_group([Question(one, until_s, at) for at, one in enumerate(asked)])
    print(f"judged in {1_000 * (perf_counter() - started):.1f} ms")
    assert {one.decision for one in verdicts} == {RiskDecision.APPROVE}
    assert len(way.assessor.in_flight) == 1


class TestWhatIsForgotten:
    @pytest.fixture(autouse=True)
    async def limited(self, set_rules: SetRules) -> None:
        await set_rules(daily_limit=100, daily_decision="DECLINE")

    async def test_a_payment_that_was_posted_or_declined(self, way: Way) -> None:
        _, a, b = await way.core.open(2, balance=10)
        outcomes = await way.pay(way.engine(), [payment(a, b, 1), payment(a, b, 60)])
        assert [type(one) for one in outcomes] == [Posted, Declined]
        assert len(way.assessor.in_flight) == 0

    async def test_one_that_was_refused_for_now(self, way: Way) -> None:
        _, a, b = await way.core.open(2)
        (outcome,) = await way.pay(way.engine(), [payment(a, b, 1, expected_debit_version=99)])
        assert isinstance(outcome, Refused)
        assert outcome.error.reason is Reason.VERSION_MISMATCH
        assert len(way.assessor.in_flight) == 0

    async def test_one_for_which_the_queue_has_no_room(self, way: Way) -> None:
        _, a, b = await way.core.open(2)
        engine = way.engine(limits=EngineLimits(queue=2))
        with pytest.raises(PaycoreError) as refused:
            await way.pay(engine, [payment(a, b, 1) for _ in range(3)])
        assert refused.value.reason is Reason.OVERLOADED
        assert len(way.assessor.in_flight) == 0

    async def test_a_group_with_every_payer(self, way: Way) -> None:
        _, a, b = await way.core.open(2)
        engine = way.engine()
        items = [payment(a, b, 1), payment(b, a, 2), payment(a, b, 3)]
        assert isinstance(await way.pay_group(engine, "paid", items), GroupPosted)
        broken = [*items, payment(a, b, 1, expected_debit_version=99)]
        assert isinstance(await way.pay_group(engine, "refused", broken), Refused)
        assert len(way.assessor.in_flight) == 0

    async def test_a_group_of_which_one_item_hangs_on_others(self, way: Way) -> None:
        _, a, b = await way.core.open(2)
        deadline_s = way.core.clock.monotonic_s() + PATIENCE_S
        under_way = ParsedTransfer(payment(a, b, 90), None, False)
        await way.admission.admit(under_way, deadline_s)
        with pytest.raises(PaycoreError) as refused:
            await way.pay_group(way.engine(), "group", [payment(b, a, 1), payment(a, b, 11)])
        assert (refused.value.reason, refused.value.metadata["item"]) == (Reason.CONTENTION, "1")
        assert len(way.assessor.in_flight) == 1

    async def test_calls_that_were_given_up_while_they_were_judged(self, way: Way) -> None:
        _, a, b = await way.core.open(2)
        deadline_s = way.core.clock.monotonic_s() + PATIENCE_S
        let_through: list[int] = []
        for milliseconds in range(0, 60, 3):
            asked = [ParsedTransfer(payment(a, b, 1), None, False) for _ in range(40)]
            paying = asyncio.ensure_future(way.admission.admit_all(asked, deadline_s))
            await asyncio.sleep(milliseconds / 1_000)
            let_through.append(len(way.assessor.in_flight))
            paying.cancel()
            (ended,) = await asyncio.gather(paying, return_exceptions=True)
            if isinstance(ended, tuple):
                way.admission.let_go(ended[0])
            assert len(way.assessor.in_flight) == 0
        assert any(0 < count < 40 for count in let_through)

    async def test_what_a_stream_can_no_longer_queue(self, way: Way) -> None:
        _, a, b = await way.core.open(2)
        engine = way.engine()
        await engine.stop()
        intake = TransferIntake(
            Identifiers(from_primary(way.core.pool)), way.admission, bytes(32), Stretches()
        )

        async def requests() -> AsyncIterator[pb2.StreamTransfersRequest]:
            yield pb2.StreamTransfersRequest(transfers=[callers.payment(a, b, 1) for _ in range(9)])

        call = Call(CLIENT, inf, cast("Any", None))
        async with vault_without_keys(way.core) as vault:
            servicer = StreamServicer(engine, vault, intake, way.core.clock)
            outcomes = [
                outcome
                async for reply in servicer.StreamTransfers(requests(), call)
                for outcome in reply.outcomes
            ]
        errors = [from_status(one.error) for one in outcomes]
        assert {one and one.reason for one in errors} == {Reason.SHUTTING_DOWN}
        assert len(outcomes) == 9
        assert len(way.assessor.in_flight) == 0


async def test_a_payment_whose_commit_was_cut_off_counts_until_it_is_found(
    way: Way, set_rules: SetRules
) -> None:
    await set_rules(daily_limit=100, daily_decision="DECLINE")
    _, a, b = await way.core.open(2)
    lost = payment(a, b, 40)
    (outcome,) = await way.pay(way.engine(Cut(way.core.store)), [lost])
    assert isinstance(outcome, Refused)
    assert outcome.error.reason is Reason.DATABASE_UNAVAILABLE
    assert len(way.assessor.in_flight) == 1
    # It was posted, and must not count twice: 40 of 100 are left for 60.
    (outcome,) = await way.pay(way.engine(), [payment(a, b, 60)])
    assert isinstance(outcome, Posted)
    assert len(way.assessor.in_flight) == 0


async def test_a_caller_who_asks_again_hears_of_it_and_it_is_forgotten(
    way: Way, set_rules: SetRules
) -> None:
    await set_rules(daily_limit=100, daily_decision="DECLINE")
    _, a, b = await way.core.open(2)
    both = [payment(a, b, 40, key="twice"), payment(a, b, 40, key="twice")]
    first, second = await way.pay(way.engine(), both)
    assert isinstance(first, Posted)
    assert isinstance(second, Posted)
    assert sorted([first.replayed, second.replayed]) == [False, True]
    assert len(way.assessor.in_flight) == 0
