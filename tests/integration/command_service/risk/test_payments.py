"""A command service that asks a risk service about payments, both real, over mutual TLS."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from deploy.local import LocalStack
from paycore.domain.errors import PaycoreError
from paycore.risk.v1 import risk_service_pb2
from paycore.runtime.errors import from_status
from paycore.v1 import money_pb2, transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.support import risk_server as servers
from tests.support.callers import TIMEOUT_S, Caller, Callers, payment, refusal_of
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase, own_database
from tests.support.ledger_checks import violations
from tests.support.risk_server import RiskServer

EUR_THRESHOLD = 100_000


@dataclass(frozen=True)
class Place:
    """The two services, who calls, and the ledger."""

    risk: RiskServer
    callers: Callers
    admin: asyncpg.Connection
    """A superuser's connection to the ledger."""

    @property
    def client(self) -> Caller:
        return self.callers.of("loadtest")

    @property
    def operator(self) -> Caller:
        return self.callers.of("operator")

    async def held_for_review(self, payer: int, payee: int, amount: int) -> Any:
        """A payment that the risk service wants reviewed."""
        self.risk.answer = lambda _: servers.REVIEW
        return (await self.client.submit(payment(payer, payee, amount))).transfer


@asynccontextmanager
async def place_on(database: OwnDatabase, folder: Path, **settings: str) -> AsyncIterator[Place]:
    """Both services, started, on a ledger that is whole at the end."""
    endpoints = database.endpoints
    tls = servers.risk_certificate(endpoints, folder)
    admin = await asyncpg.connect(database.admin_dsn)
    try:
        async with (
            servers.risk_server(tls) as risk,
            command_process(
                endpoints,
                folder / "command.log",
                POSTGRES_DSN=database.dsn("command"),
                RISK="remote",
                RISK_TARGET=risk.target,
                # Long enough for an answer from a busy machine.
                **{"RISK_TIMEOUT_MS": "3000", **settings},
            ) as (target, _),
            Callers(endpoints, command_target=target) as callers,
        ):
            yield Place(risk, callers, admin)
        assert await violations(admin) == []
    finally:
        await admin.close()


@pytest.fixture(scope="module")
async def shared(
    services: LocalStack, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    """One for all tests that need no settings of their own: each has accounts of its own."""
    # The signing service keeps the keys under which reasons of reviews are sealed.
    with own_database(services.endpoints, template) as database:
        async with place_on(database, tmp_path_factory.mktemp("risk")) as place:
            yield place


@pytest.fixture
async def place(shared: Place) -> AsyncIterator[Place]:
    """All is approved until the test says otherwise; the ledger is whole when it is over."""
    shared.risk.answer = servers.approve
    shared.risk.asked.clear()
    yield shared
    assert await violations(shared.admin) == []


@pytest.fixture
async def own_place(
    request: pytest.FixtureRequest, services: LocalStack, database: OwnDatabase, tmp_path: Path
) -> AsyncIterator[Place]:
    """The test's own, with the settings of its parameter."""
    async with place_on(database, tmp_path, **getattr(request, "param", {})) as place:
        yield place


async def refused(call: Awaitable[object]) -> PaycoreError:
    refusal = await refusal_of(call)
    assert refusal is not None
    assert refusal.error is not None, refusal
    return refusal.error


def settle(caller: Caller, name: str, transfer: int, key: str | None = None) -> Any:
    """ApproveReview or RefuseReview."""
    request = {"ApproveReview": pb2.ApproveReviewRequest, "RefuseReview": pb2.RefuseReviewRequest}
    return getattr(caller.transfers, name)(
        request[name](
            idempotency_key=key or secrets.token_hex(12), transfer_id=transfer, reason="looked at"
        ),
        timeout=TIMEOUT_S,
    )


def hold(payer: int, payee: int, amount: int) -> pb2.HoldFundsRequest:
    request = pb2.HoldFundsRequest(
        idempotency_key=secrets.token_hex(12),
        debit_account_id=payer,
        credit_account_id=payee,
        amount=money_pb2.Money(minor_units=amount, currency="EUR"),
    )
    request.expire_time.FromSeconds(int(time.time()) + 3_600)
    return request


def group(*items: pb2.SubmitTransferRequest) -> pb2.SubmitTransferGroupRequest:
    return pb2.SubmitTransferGroupRequest(
        idempotency_key=secrets.token_hex(12),
        transfers=[
            pb2.GroupedTransfer(
                kind=item.kind,
                debit_account_id=item.debit_account_id,
                credit_account_id=item.credit_account_id,
                amount=item.amount,
            )
            for item in items
        ],
    )


def by_amount(**answers: object) -> Any:
    """Answers by the amount that is asked about; whatever else is approved."""

    def answer(asked: risk_service_pb2.AssessTransferRequest) -> object:
        return answers.get(f"of_{asked.amount.minor_units}", servers.APPROVE)

    return answer


async def figures(place: Place, account: int) -> tuple[int, int]:
    row = await place.admin.fetchrow(
        "SELECT balance, held FROM ledger.accounts WHERE id = $1", account
    )
    return row["balance"], row["held"]


class TestVerdicts:
    async def test_an_approved_payment_is_posted_and_its_replay_not_judged(
        self, place: Place
    ) -> None:
        _, a, b = await place.client.open(2, balance=500)
        asked = payment(a, b, 100)
        first = await place.client.submit(asked)
        place.risk.answer = lambda _: servers.DECLINE
        again = await place.client.submit(asked)
        assert again.replayed
        assert again.transfer == first.transfer
        assert [one.idempotency_key for one in place.risk.asked] == [asked.idempotency_key]

    async def test_a_decline_is_stored_with_its_rule(self, place: Place) -> None:
        _, a, b = await place.client.open(2, balance=500)
        asked = payment(a, b, 100)
        place.risk.answer = lambda _: servers.DECLINE
        first = await refused(place.client.submit(asked))
        assert first.reason == "RISK_DECLINED"
        assert first.metadata["rule"] == "sanctions"
        place.risk.answer = servers.approve
        again = await refused(place.client.submit(asked))
        assert again.metadata == {**first.metadata, "replayed": "true"}
        assert len(place.risk.asked) == 1

    async def test_each_payment_of_many_is_judged_on_its_own(self, place: Place) -> None:
        _, a, b = await place.client.open(2, balance=500)
        place.risk.answer = by_amount(of_2=servers.DECLINE, of_3=servers.REVIEW, of_4=servers.HANG)
        reply = await place.client.transfers.SubmitTransfers(
            pb2.SubmitTransfersRequest(
                transfers=[
                    *(payment(a, b, amount) for amount in (1, 2, 3, 4)),
                    payment(_, a, 2, kind=transfer_pb2.TRANSFER_KIND_DEPOSIT),
                ]
            ),
            timeout=TIMEOUT_S,
        )
        posted, declined, held, silent, deposit = reply.outcomes
        assert posted.transfer.state == transfer_pb2.TRANSFER_STATE_POSTED
        declined_error, silent_error = from_status(declined.error), from_status(silent.error)
        assert declined_error is not None
        assert declined_error.reason == "RISK_DECLINED"
        assert held.transfer.state == transfer_pb2.TRANSFER_STATE_HELD
        assert silent_error is not None
        assert silent_error.reason == "RISK_UNAVAILABLE"
        assert deposit.transfer.state == transfer_pb2.TRANSFER_STATE_POSTED

    async def test_only_what_a_payer_may_and_does_set_in_motion_is_judged(
        self, place: Place
    ) -> None:
        outside, a, b = await place.client.open(2, balance=500)
        other = place.callers.of("app")
        _, mine = await other.open(1, balance=2 * EUR_THRESHOLD)
        place.risk.asked.clear()
        assert (await refused(other.submit(payment(a, b, 1)))).reason == "NOT_PERMITTED"
        assert (await refused(place.client.submit(payment(b + 999, b, 1)))).reason == (
            "ACCOUNT_NOT_FOUND"
        )
        sensitive = payment(mine, b, EUR_THRESHOLD + 1)
        assert (await refused(other.submit(sensitive))).reason == "STEP_UP_REQUIRED"
        await place.client.submit(payment(outside, a, 1, kind=transfer_pb2.TRANSFER_KIND_DEPOSIT))
        await place.client.submit(payment(a, b, 1, kind=transfer_pb2.TRANSFER_KIND_FEE))
        assert place.risk.asked == []
        await place.client.submit(
            payment(a, outside, 1, kind=transfer_pb2.TRANSFER_KIND_WITHDRAWAL)
        )
        await place.client.transfers.HoldFunds(hold(a, b, 1), timeout=TIMEOUT_S)
        assert [one.kind for one in place.risk.asked] == [
            transfer_pb2.TRANSFER_KIND_WITHDRAWAL,
            transfer_pb2.TRANSFER_KIND_HOLD,
        ]


class TestReviews:
    async def test_a_payment_under_review_is_held_and_its_client_cannot_capture_it(
        self, place: Place
    ) -> None:
        _, a, b = await place.client.open(2, balance=500)
        held = await place.held_for_review(a, b, 300)
        assert (held.state, held.kind) == (
            transfer_pb2.TRANSFER_STATE_HELD,
            transfer_pb2.TRANSFER_KIND_HOLD,
        )
        assert held.review_rule == "odd-hour"
        assert await figures(place, a) == (500, 300)
        place.risk.answer = servers.approve
        too_much = await refused(place.client.submit(payment(a, b, 201)))
        assert too_much.reason == "INSUFFICIENT_FUNDS"
        for name, request in (
            ("CaptureHold", pb2.CaptureHoldRequest(idempotency_key="c", hold_id=held.id)),
            ("ReleaseHold", pb2.ReleaseHoldRequest(idempotency_key="r", hold_id=held.id)),
        ):
            call = getattr(place.client.transfers, name)(request, timeout=TIMEOUT_S)
            assert (await refused(call)).reason == "ILLEGAL_STATE"

    async def test_approval_captures_it_once(self, place: Place) -> None:
        _, a, b = await place.client.open(2, balance=500)
        held = await place.held_for_review(a, b, 300)
        done = await settle(place.operator, "ApproveReview", held.id, "approval")
        assert done.transfer.kind == transfer_pb2.TRANSFER_KIND_CAPTURE
        assert done.transfer.parent_state == transfer_pb2.TRANSFER_STATE_CAPTURED
        assert done.transfer.description == "looked at"
        assert (await figures(place, a), await figures(place, b)) == ((200, 0), (800, 0))
        again = await settle(place.operator, "ApproveReview", held.id, "approval")
        assert (again.transfer, again.replayed) == (done.transfer, True)
        for name in ("ApproveReview", "RefuseReview"):
            error = await refused(settle(place.operator, name, held.id))
            assert error.reason == "HOLD_NOT_OPEN"
        assert (await figures(place, a), await figures(place, b)) == ((200, 0), (800, 0))

    async def test_refusal_rolls_it_back_and_frees_the_money(self, place: Place) -> None:
        _, a, b = await place.client.open(2, balance=500)
        held = await place.held_for_review(a, b, 500)
        done = await settle(place.operator, "RefuseReview", held.id)
        assert done.transfer.kind == transfer_pb2.TRANSFER_KIND_RELEASE
        assert done.transfer.parent_state == transfer_pb2.TRANSFER_STATE_ROLLED_BACK
        assert await figures(place, a) == (500, 0)
        place.risk.answer = servers.approve
        await place.client.submit(payment(a, b, 500))
        error = await refused(settle(place.operator, "ApproveReview", held.id))
        assert error.reason == "HOLD_NOT_OPEN"

    async def test_of_approval_and_refusal_at_once_exactly_one_wins(self, place: Place) -> None:
        _, a, b = await place.client.open(2, balance=500)
        other = place.callers.another("operator")
        approved = 0
        for _ in range(12):
            held = await place.held_for_review(a, b, 10)
            calls = [
                settle(place.operator, "ApproveReview", held.id),
                settle(other, "RefuseReview", held.id),
                settle(other, "ApproveReview", held.id),
            ]
            results = await asyncio.gather(*calls, return_exceptions=True)
            won = [result for result in results if not isinstance(result, BaseException)]
            assert len(won) == 1, results
            approved += won[0].transfer.kind == transfer_pb2.TRANSFER_KIND_CAPTURE
            for call in calls:
                refusal = await refusal_of(call)
                assert refusal is None or refusal.reason == "HOLD_NOT_OPEN"
        assert await figures(place, a) == (500 - 10 * approved, 0)
        assert await figures(place, b) == (500 + 10 * approved, 0)

    async def test_a_withdrawal_leaves_on_approval(self, place: Place) -> None:
        outside, a = await place.client.open(1, balance=500)
        place.risk.answer = lambda _: servers.REVIEW
        kind = transfer_pb2.TRANSFER_KIND_WITHDRAWAL
        held = (await place.client.submit(payment(a, outside, 200, kind=kind))).transfer
        await settle(place.operator, "ApproveReview", held.id)
        assert await figures(place, outside) == (-300, 0)

    async def test_nobody_settles_a_review_without_the_right(self, place: Place) -> None:
        _, a, b = await place.client.open(2, balance=500)
        held = await place.held_for_review(a, b, 100)
        error = await refused(settle(place.client, "ApproveReview", held.id))
        assert error.reason == "NOT_PERMITTED"

    async def test_a_hold_asked_for_by_its_client_is_declined_instead(self, place: Place) -> None:
        _, a, b = await place.client.open(2, balance=500)
        place.risk.answer = lambda _: servers.REVIEW
        asked = hold(a, b, 100)
        error = await refused(place.client.transfers.HoldFunds(asked, timeout=TIMEOUT_S))
        assert error.reason == "RISK_DECLINED"
        assert error.metadata["rule"] == "odd-hour"
        assert "decline_id" in error.metadata


class TestGroups:
    @pytest.mark.parametrize("answer", [servers.DECLINE, servers.REVIEW])
    async def test_one_bad_item_declines_all(self, place: Place, answer: object) -> None:
        _, a, b = await place.client.open(2, balance=500)
        place.risk.answer = by_amount(of_2=answer)
        asked = group(payment(a, b, 1), payment(a, b, 2), payment(a, b, 3))
        send = place.client.transfers.SubmitTransferGroup
        error = await refused(send(asked, timeout=TIMEOUT_S))
        assert error.reason == "RISK_DECLINED"
        assert error.metadata["item"] == "1"
        assert await figures(place, a) == (500, 0)
        assert {one.idempotency_key for one in place.risk.asked} == {asked.idempotency_key}
        questions = len(place.risk.asked)
        place.risk.answer = servers.approve
        again = await refused(send(asked, timeout=TIMEOUT_S))
        assert again.metadata["decline_id"] == error.metadata["decline_id"]
        assert len(place.risk.asked) == questions

    async def test_one_item_without_a_verdict_leaves_all_undecided(self, place: Place) -> None:
        _, a, b = await place.client.open(2, balance=500)
        place.risk.answer = by_amount(of_3=grpc.StatusCode.INTERNAL)
        asked = group(payment(a, b, 1), payment(a, b, 2), payment(a, b, 3))
        send = place.client.transfers.SubmitTransferGroup
        error = await refused(send(asked, timeout=TIMEOUT_S))
        assert error.reason == "RISK_UNAVAILABLE"
        assert error.metadata["item"] == "2"
        assert await figures(place, a) == (500, 0)
        place.risk.answer = servers.approve
        assert not (await send(asked, timeout=TIMEOUT_S)).replayed
        assert await figures(place, a) == (494, 0)


class TestSilence:
    @pytest.mark.parametrize(
        "answer",
        [
            servers.HANG,
            grpc.StatusCode.UNAVAILABLE,
            risk_service_pb2.AssessTransferResponse(),
            risk_service_pb2.AssessTransferResponse(verdict=servers.DECLINE.verdict),
        ],
        ids=["too late", "error", "no verdict", "no rule"],
    )
    async def test_refuses_for_now_and_stores_nothing(self, place: Place, answer: object) -> None:
        _, a, b = await place.client.open(2, balance=500)
        place.risk.answer = lambda _: answer
        asked = payment(a, b, 100)
        error = await refused(place.client.submit(asked))
        assert error.reason == "RISK_UNAVAILABLE"
        assert error.retry_after_ms
        place.risk.answer = servers.approve
        assert not (await place.client.submit(asked)).replayed

    async def test_a_server_that_dies_during_the_call_and_comes_back(
        self, own_place: Place
    ) -> None:
        place = own_place
        _, a, b = await place.client.open(2, balance=500)
        place.risk.answer = lambda _: servers.HANG
        asked = payment(a, b, 100)
        sent = asyncio.ensure_future(refused(place.client.submit(asked)))
        while not place.risk.asked:
            await asyncio.sleep(0.005)
        await place.risk.die()
        assert (await sent).reason == "RISK_UNAVAILABLE"
        assert (await refused(place.client.submit(asked))).reason == "RISK_UNAVAILABLE"

    async def test_a_caller_in_more_of_a_hurry_is_told_that_its_time_is_up(
        self, place: Place
    ) -> None:
        _, a, b = await place.client.open(2, balance=500)
        place.risk.answer = lambda _: servers.HANG
        refusal = await refusal_of(
            place.client.transfers.SubmitTransfer(payment(a, b, 100), timeout=0.4)
        )
        assert refusal is not None
        assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED

    @pytest.mark.parametrize("own_place", [{"RISK_ON_SILENCE": "decline"}], indirect=True)
    async def test_that_declines_is_final_for_the_caller_but_not_for_the_key(
        self, own_place: Place
    ) -> None:
        place = own_place
        _, a, b = await place.client.open(2, balance=500)
        place.risk.answer = lambda _: grpc.StatusCode.UNAVAILABLE
        asked = payment(a, b, 100)
        error = await refused(place.client.submit(asked))
        assert error.reason == "RISK_DECLINED"
        assert error.metadata == {"rule": "no-answer"}
        place.risk.answer = servers.approve
        assert not (await place.client.submit(asked)).replayed

    @pytest.mark.parametrize("own_place", [{"RISK_ON_SILENCE": "review"}], indirect=True)
    async def test_that_asks_for_review_holds_the_payment(self, own_place: Place) -> None:
        place = own_place
        _, a, b = await place.client.open(2, balance=500)
        place.risk.answer = lambda _: grpc.StatusCode.UNAVAILABLE
        held = (await place.client.submit(payment(a, b, 100))).transfer
        assert held.review_rule == "no-answer"
        await settle(place.operator, "ApproveReview", held.id)
