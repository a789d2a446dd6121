"""A risk service outside: what it is told, and what of its words is believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from command_service.admission.risk.port import MAX_RULE, NoAnswerError, Question
from command_service.admission.risk.remote import RemoteAssessor
from deploy.local import Endpoints
from paycore.domain.accounts import AccountId
from paycore.domain.transfers import Details, RiskDecision, RiskVerdict, TransferKind
from paycore.risk.v1 import risk_service_pb2 as pb2
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.v1 import transfer_pb2
from tests.support import risk_server as servers
from tests.support.command_core import payment
from tests.support.risk_server import RiskServer

CLOCK = SystemClock()


@pytest.fixture
async def server() -> AsyncIterator[RiskServer]:
    async with servers.risk_server() as server:
        yield server


@pytest.fixture
async def assessor(server: RiskServer) -> AsyncIterator[RemoteAssessor]:
    async with open_channel(server.target, None, service="risk") as channel:
        yield RemoteAssessor(channel, CLOCK)


def question(within_s: float = 5.0, **changes: object) -> Question:
    asked = payment(AccountId(11), AccountId(12), 250, **changes)
    return Question(asked, CLOCK.monotonic_s() + within_s)


async def ask(assessor: RemoteAssessor, one: Question) -> object:
    return await assessor.assess(one, one.posts_until_s)


async def test_it_is_told_who_pays_whom_how_much_and_for_whom(
    assessor: RemoteAssessor, server: RiskServer
) -> None:
    details = Details(
        user_id="ada", device_id="phone", ip_address="192.0.2.1", description="secret"
    )
    await ask(
        assessor,
        question(client="app", key="k1", kind=TransferKind.WITHDRAWAL, details=details),
    )
    (asked,) = server.asked
    assert (asked.client, asked.idempotency_key) == ("app", "k1")
    assert asked.kind == transfer_pb2.TRANSFER_KIND_WITHDRAWAL
    assert (asked.debit_account_id, asked.credit_account_id) == (11, 12)
    assert (asked.amount.minor_units, asked.amount.currency) == (250, "EUR")
    assert (asked.actor.user_id, asked.actor.device_id) == ("ada", "phone")
    assert asked.actor.ip_address == "192.0.2.1"
    assert abs(asked.request_time.ToMicroseconds() - CLOCK.now_us()) < 60_000_000
    assert b"hidden" not in asked.SerializeToString()


async def test_no_actor_is_told_where_none_is_named(
    assessor: RemoteAssessor, server: RiskServer
) -> None:
    await ask(assessor, question(details=Details(description="secret")))
    assert not server.asked[0].HasField("actor")


@pytest.mark.parametrize(
    ("verdict", "rule", "cause"),
    [
        (pb2.RISK_VERDICT_UNSPECIFIED, "r", "UNKNOWN_VERDICT"),
        (17, "r", "UNKNOWN_VERDICT"),
        (pb2.RISK_VERDICT_DECLINE, "", "NO_RULE"),
        (pb2.RISK_VERDICT_REVIEW, "", "NO_RULE"),
        (pb2.RISK_VERDICT_REVIEW, "r" * (MAX_RULE + 1), "NO_RULE"),
        (pb2.RISK_VERDICT_DECLINE, "two\nlines", "NO_RULE"),
    ],
)
async def test_a_wrong_answer_is_none(
    assessor: RemoteAssessor, server: RiskServer, verdict: int, rule: str, cause: str
) -> None:
    answer = pb2.AssessTransferResponse(rule=rule)
    answer.verdict = verdict  # type: ignore[assignment]  # what a newer server may send
    server.answer = lambda _: answer
    with pytest.raises(NoAnswerError, match=cause):
        await ask(assessor, question())


async def test_the_longest_rule_is_passed_on(assessor: RemoteAssessor, server: RiskServer) -> None:
    rule = "r" * MAX_RULE
    server.answer = lambda _: pb2.AssessTransferResponse(
        verdict=pb2.RISK_VERDICT_DECLINE, rule=rule
    )
    assert await ask(assessor, question()) == RiskVerdict(RiskDecision.DECLINE, rule)


async def test_a_server_that_takes_too_long_gave_no_answer(
    assessor: RemoteAssessor, server: RiskServer
) -> None:
    server.answer = lambda _: servers.HANG
    with pytest.raises(NoAnswerError, match="DEADLINE"):
        await ask(assessor, question(within_s=0.1))
    assert len(server.asked) == 1


async def test_a_server_that_dies_during_the_call_gave_no_answer(
    assessor: RemoteAssessor, server: RiskServer
) -> None:
    server.answer = lambda _: servers.HANG
    asking = asyncio.create_task(ask(assessor, question()))
    while not server.asked:
        await asyncio.sleep(0.005)
    await server.die()
    with pytest.raises(NoAnswerError):
        await asking


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.PERMISSION_DENIED])
async def test_an_error_is_no_answer(
    assessor: RemoteAssessor, server: RiskServer, code: grpc.StatusCode
) -> None:
    server.answer = lambda _: code
    with pytest.raises(NoAnswerError, match=code.name):
        await ask(assessor, question())


async def test_it_is_asked_as_the_command_service_over_mutual_tls(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    tls = servers.risk_certificate(endpoints, tmp_path)
    async with servers.risk_server(tls) as server:
        async with open_channel(server.target, endpoints.tls["command"], service="risk") as channel:
            await ask(RemoteAssessor(channel, CLOCK), question())
        assert b"spiffe://paycore/command" in server.callers
        async with open_channel(server.target, None, service="risk") as channel:
            with pytest.raises(NoAnswerError):
                await ask(RemoteAssessor(channel, CLOCK), question(within_s=1))
        assert len(server.asked) == 1
