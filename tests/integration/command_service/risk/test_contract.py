"""What every assessor of risk does, held against each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import pytest

from command_service.admission.risk.port import (
    Ending,
    NoAnswerError,
    Question,
    RiskAssessor,
    is_rule,
)
from command_service.admission.risk.remote import RemoteAssessor
from command_service.admission.risk.rule_table import RiskRuleTable
from paycore.domain.accounts import AccountId
from paycore.domain.transfers import RiskDecision, RiskVerdict, TransferKind
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.database import open_pool
from paycore.runtime.pools import PoolName
from tests.integration.command_service.risk.conftest import rules_assessor, write_rules
from tests.support import risk_server as servers
from tests.support.command_core import CommandCore, payment
from tests.support.postgres_proxy import PostgresProxy

CLOCK = SystemClock()


@dataclass(frozen=True)
class Bench:
    """One assessor, and how its word is brought about."""

    assessor: RiskAssessor
    say: Callable[[RiskDecision], Awaitable[None]]
    fall_silent: Callable[[], Awaitable[None]]
    payer: AccountId
    payee: AccountId

    async def ask(
        self, kind: TransferKind = TransferKind.TRANSFER, within_s: float = 5.0
    ) -> RiskVerdict:
        until_s = CLOCK.monotonic_s() + within_s
        asked = payment(self.payer, self.payee, 100, kind=kind)
        return await self.assessor.assess(Question(asked, until_s), until_s)


@pytest.fixture(params=["rules", "remote"])
async def bench(
    request: pytest.FixtureRequest,
    core: CommandCore,
    admin: asyncpg.Connection,
    proxy: PostgresProxy,
) -> AsyncIterator[Bench]:
    make = {"rules": rules_bench, "remote": remote_bench}[request.param]
    _, payer, payee = await core.open(2)
    async for made in make(admin, proxy, payer, payee):
        yield made


async def rules_bench(
    admin: asyncpg.Connection, proxy: PostgresProxy, payer: AccountId, payee: AccountId
) -> AsyncIterator[Bench]:
    pool = await open_pool(
        proxy.dsn, size=2, name=PoolName.RISK, application="risk-contract", connect_timeout_s=1
    )
    table = RiskRuleTable(pool, CLOCK)
    await table.load()

    async def say(decision: RiskDecision) -> None:
        if decision is RiskDecision.APPROVE:
            await write_rules(admin, daily_limit=100, daily_decision="DECLINE")
        else:
            await write_rules(admin, daily_limit=99, daily_decision=decision.value)
        await table.load()

    async def fall_silent() -> None:
        await say(RiskDecision.APPROVE)
        proxy.refusing = True
        await proxy.cut()

    yield Bench(rules_assessor(pool, table, CLOCK), say, fall_silent, payer, payee)
    pool.terminate()


async def remote_bench(
    admin: asyncpg.Connection, proxy: PostgresProxy, payer: AccountId, payee: AccountId
) -> AsyncIterator[Bench]:
    answers = {
        RiskDecision.APPROVE: servers.APPROVE,
        RiskDecision.DECLINE: servers.DECLINE,
        RiskDecision.REVIEW: servers.REVIEW,
    }
    async with (
        servers.risk_server() as server,
        open_channel(server.target, None, service="risk") as channel,
    ):

        async def say(decision: RiskDecision) -> None:
            server.answer = lambda _: answers[decision]

        yield Bench(RemoteAssessor(channel, CLOCK), say, server.die, payer, payee)


@pytest.mark.parametrize("kind", ["TRANSFER", "WITHDRAWAL", "HOLD"])
@pytest.mark.parametrize("decision", list(RiskDecision))
async def test_every_verdict_is_given_with_its_rule(
    bench: Bench, decision: RiskDecision, kind: str
) -> None:
    await bench.say(decision)
    verdict = await bench.ask(TransferKind(kind))
    assert verdict[0] is decision
    assert is_rule(verdict[1]) is (decision is not RiskDecision.APPROVE)


async def test_silence_is_told_and_named(bench: Bench) -> None:
    await bench.fall_silent()
    with pytest.raises(NoAnswerError, match=r"^[A-Z_]+$"):
        await bench.ask()


async def test_a_question_may_be_given_up_and_the_next_is_answered(bench: Bench) -> None:
    await bench.say(RiskDecision.APPROVE)
    given_up = asyncio.create_task(bench.ask())
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert (await bench.ask()).decision is RiskDecision.APPROVE


async def test_the_same_payment_may_be_asked_about_again(bench: Bench) -> None:
    await bench.say(RiskDecision.APPROVE)
    asked = payment(bench.payer, bench.payee, 100)
    question = Question(asked, CLOCK.monotonic_s() + 5)
    for _ in range(3):
        verdict = await bench.assessor.assess(question, question.posts_until_s)
        assert verdict[:2] == (RiskDecision.APPROVE, "")


async def test_many_are_asked_about_at_once(bench: Bench) -> None:
    await bench.say(RiskDecision.DECLINE)
    verdicts = await asyncio.gather(*(bench.ask() for _ in range(20)))
    assert {verdict.decision for verdict in verdicts} == {RiskDecision.DECLINE}


@pytest.mark.parametrize("ending", list(Ending))
async def test_an_end_may_be_told_more_than_once(bench: Bench, ending: Ending) -> None:
    await bench.say(RiskDecision.APPROVE)
    verdict = await bench.ask()
    tickets = [1_000_000] if verdict.ticket is None else [verdict.ticket, 1_000_000]
    for _ in range(2):
        bench.assessor.ended(tickets, ending)
    if ending is not Ending.UNKNOWN:
        assert (await bench.ask()).decision is RiskDecision.APPROVE
