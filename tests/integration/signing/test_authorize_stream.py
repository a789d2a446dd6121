"""Many questions on one stream: each is decided and answered by itself."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest
from prometheus_client import REGISTRY

from deploy.local import Endpoints
from paycore.domain.errors import Reason
from paycore.domain.step_up import payment_digest
from paycore.runtime.errors import from_rpc_error
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1.signing_service_pb2_grpc import SigningServiceStub as Stub
from signing_service.authorize_stream import MAX_QUESTIONS, StreamBounds
from tests.integration.signing.device import TestDevice
from tests.integration.signing.signer import PIN, WRONG, Signer, payment
from tests.integration.signing.streaming import (
    Asking,
    SignerServer,
    as_request,
    numbered,
    refusal_in,
    said,
    signer_server,
)

USER = "user-1"
SMALL = StreamBounds(streams=2, under_way=3, longest_s=0.3)


@pytest.fixture
async def server(endpoints: Endpoints, signer: Signer) -> AsyncIterator[SignerServer]:
    await signer.enrol(USER)
    async with signer_server(endpoints, signer) as server:
        yield server


@pytest.fixture
async def small(endpoints: Endpoints, signer: Signer) -> AsyncIterator[SignerServer]:
    """With bounds that a test can reach."""
    await signer.enrol(USER)
    async with signer_server(endpoints, signer, SMALL) as server:
        yield server


@pytest.fixture
async def device(server: SignerServer) -> TestDevice:
    return await TestDevice.new().enrol(server.signer, USER)


def by_pin(signer: Signer, pin: object = PIN) -> pb.AuthorizeRequest:
    return as_request(signer.question(USER, pin, payment()))  # type: ignore[arg-type]


def hold_hashing(signer: Signer) -> tuple[threading.Event, list[asyncio.Task[object]]]:
    """No PIN is hashed until the event is set."""
    hash_now = threading.Event()
    run = signer.hashing.run
    return hash_now, [asyncio.create_task(run(hash_now.wait)) for _ in range(2)]


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("paycore_signing_verdicts_total", {"outcome": outcome}) or 0.0


def waiting() -> float | None:
    return REGISTRY.get_sample_value("paycore_signing_stream_questions")


async def test_each_of_many_in_one_message_has_its_own_answer(
    server: SignerServer, device: TestDevice
) -> None:
    signer = server.signer
    intents = [payment() for _ in range(50)]
    right = [as_request(device.approve(USER, intent)) for intent in intents]
    forged = as_request(device.approve(USER, payment()))
    forged.payment.amount.minor_units += 1
    malformed = as_request(device.approve(USER, payment()))
    malformed.step_up.device_signature.device_id = "?"
    other = as_request(device.approve("user-2", payment()))
    asked = [*right, forged, malformed, other, by_pin(signer, WRONG), by_pin(signer)]
    before = counted("AUTHORIZED"), counted("AUTHORIZATION_INVALID"), counted("PIN_INCORRECT")
    async with server.asking() as asking:
        await asking.send(numbered(number, one) for number, one in enumerate(asked, 1))
        answers = await asking.take(len(asked))
        assert await asking.end() is grpc.StatusCode.OK
    assert [one.number for one in answers] == list(range(1, len(asked) + 1))
    assert [said(one) for one in answers] == [
        *["AUTHORIZED"] * 50,
        "AUTHORIZATION_INVALID",
        "INVALID_FIELD",
        "AUTHORIZATION_INVALID",
        "PIN_INCORRECT",
        "AUTHORIZED",
    ]
    assert [one.authorization.digest for one in answers[:50]] == [
        payment_digest(intent) for intent in intents
    ]
    assert refusal_in(answers[51]).violations[0].field == "step_up.device_signature.device_id"
    assert refusal_in(answers[53]).metadata == {"attempts_left": "4"}
    after = counted("AUTHORIZED"), counted("AUTHORIZATION_INVALID"), counted("PIN_INCORRECT")
    assert after == (before[0] + 51, before[1] + 2, before[2] + 1)
    assert waiting() == 0


async def test_devices_are_answered_while_pins_before_them_are_hashed(
    server: SignerServer, device: TestDevice
) -> None:
    signer = server.signer
    hash_now, blocking = hold_hashing(signer)
    async with server.asking() as asking:
        await asking.send([numbered(1, by_pin(signer)), numbered(2, by_pin(signer))])
        await asking.send(
            numbered(number, as_request(device.approve(USER, payment()))) for number in (3, 4, 5)
        )
        devices = await asking.take(3)
        hash_now.set()
        pins = await asking.take(2)
        await asyncio.gather(*blocking)
    assert [one.number for one in devices] == [3, 4, 5]
    assert [one.number for one in pins] == [1, 2]
    assert {said(one) for one in (*devices, *pins)} == {"AUTHORIZED"}


async def test_who_asks_twice_over_either_way_has_one_verdict(
    server: SignerServer, device: TestDevice, owner: asyncpg.Connection
) -> None:
    question = device.approve(USER, payment())
    first = await server.signer.ask(question)
    async with server.asking() as asking:
        await asking.send([numbered(1, as_request(question)), numbered(2, as_request(question))])
        answers = await asking.take(2)
    assert {one.authorization.id for one in answers} == {first.id}
    assert {one.authorization.signature for one in answers} == {first.signature}
    assert await owner.fetchval("SELECT count(*) FROM signing.authorizations") == 1


async def test_a_question_that_is_wrong_is_refused_by_itself(
    server: SignerServer, device: TestDevice
) -> None:
    def right() -> pb.AuthorizeRequest:
        return as_request(device.approve(USER, payment()))

    async with server.asking() as asking:
        await asking.send([numbered(0, right())])
        assert refusal_in(await asking.next()).violations[0].field == "number"
        await asking.send([numbered(7, right())])
        assert said(await asking.next()) == "AUTHORIZED"
        for number in (7, 6):
            await asking.send([numbered(number, right())])
            refused = await asking.next()
            assert refused.number == number
            assert refusal_in(refused).violations[0].field == "number"
        for number, timeout_s in ((8, None), (9, 0.0), (10, -1.0)):
            await asking.send([numbered(number, right(), timeout_s)])
            assert refusal_in(await asking.next()).violations[0].field == "timeout"
        odd = numbered(11, right())
        odd.timeout.nanos = -1
        await asking.send([odd, numbered(12)])
        assert refusal_in(await asking.next()).violations[0].field == "timeout"
        fields = {violation.field for violation in refusal_in(await asking.next()).violations}
        assert {"user_id", "payment.kind", "step_up.sign_time", "step_up.proof"} <= fields
        await asking.send([numbered(2**64 - 1, right())])
        assert said(await asking.next()) == "AUTHORIZED"
        assert await asking.end() is grpc.StatusCode.OK


@pytest.mark.parametrize("count", [0, MAX_QUESTIONS + 1])
async def test_a_message_of_the_wrong_size_ends_the_stream_after_what_came_before(
    server: SignerServer, device: TestDevice, count: int
) -> None:
    async with server.asking() as asking:
        await asking.send([numbered(1, as_request(device.approve(USER, payment())))])
        await asking.send(numbered(number) for number in range(2, count + 2))
        assert said(await asking.next()) == "AUTHORIZED"
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await asking.next()
    refusal = from_rpc_error(ended.value)
    assert refusal is not None
    assert refusal.violations[0].field == "questions"


async def test_beyond_the_bound_a_question_is_refused_and_the_stream_goes_on(
    small: SignerServer,
) -> None:
    signer = small.signer
    hash_now, blocking = hold_hashing(signer)
    async with small.asking() as asking:
        await asking.send(
            numbered(number, by_pin(signer), 0.3 if number < 4 else 20.0) for number in range(1, 6)
        )
        over = await asking.take(2)
        assert [(one.number, said(one)) for one in over] == [(4, "OVERLOADED"), (5, "OVERLOADED")]
        assert refusal_in(over[0]).retry_after_ms
        late = await asking.take(3)
        assert [(one.number, said(one)) for one in late] == [
            (number, "DEADLINE_EXCEEDED") for number in (1, 2, 3)
        ]
        # Whatever it asks for, nothing is waited for longer than the bound.
        await asking.send([numbered(6, by_pin(signer), 3_600.0)])
        assert said(await asking.next()) == "DEADLINE_EXCEEDED"
        assert waiting() == 0
        hash_now.set()
        await asyncio.gather(*blocking)
        await signer.parts.under_way.drain()
        await asking.send([numbered(7, by_pin(signer))])
        assert said(await asking.next()) == "AUTHORIZED"
        assert await asking.end() is grpc.StatusCode.OK


async def test_beyond_the_bound_there_are_no_more_streams(small: SignerServer) -> None:
    async with small.channel() as channel:
        stub = Stub(channel)
        kept = [Asking(stub) for _ in range(2)]
        for one in kept:
            await one.send([numbered(1)])
            assert said(await one.next()) == "INVALID_FIELD"
        third = Asking(stub)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await third.next()
        error = from_rpc_error(refused.value)
        assert error is not None
        assert error.reason is Reason.OVERLOADED
        assert error.retry_after_ms
        assert await kept[0].end() is grpc.StatusCode.OK
        again = Asking(stub)
        await again.send([numbered(1)])
        assert said(await again.next()) == "INVALID_FIELD"


async def test_who_does_not_take_answers_is_not_read_from(small: SignerServer) -> None:
    seen = 'paycore_signing_stream_question_seconds_count{outcome="INVALID_FIELD"}'

    def refused() -> float:
        found = REGISTRY.get_sample_value(
            "paycore_signing_stream_question_seconds_count", {"outcome": "INVALID_FIELD"}
        )
        return found or 0.0

    before = refused()
    many = 20_000
    # Its answer is long: it names every field of every leg.
    bad = pb.AuthorizeRequest()
    for _ in range(100):
        bad.group.legs.add()
    async with small.asking() as asking:

        async def flood() -> None:
            for number in range(1, many):
                await asking.send([numbered(number, bad)])

        flooding = asyncio.create_task(flood())
        last = -1.0
        async with asyncio.timeout(60):
            while last != refused():
                last = refused()
                await asyncio.sleep(0.5)
        assert before < refused() < before + many / 10, seen
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)


async def test_a_stream_that_breaks_takes_no_verdict_with_it(
    server: SignerServer, owner: asyncpg.Connection
) -> None:
    signer = server.signer
    hash_now, blocking = hold_hashing(signer)
    question = signer.question(USER, PIN, payment())
    async with server.asking() as asking:
        await asking.send([numbered(1, as_request(question))])
        while waiting() != 1:
            await asyncio.sleep(0.01)
        asking.call.cancel()
    while waiting() != 0:
        await asyncio.sleep(0.01)
    hash_now.set()
    await asyncio.gather(*blocking)
    await signer.parts.under_way.drain()
    recorded = await owner.fetch("SELECT id FROM signing.authorizations")
    assert len(recorded) == 1
    # And whoever asks again is told the same.
    assert (await signer.ask(question)).id == recorded[0]["id"]


async def test_a_process_that_stops_answers_what_it_has_read(
    server: SignerServer, device: TestDevice
) -> None:
    signer = server.signer
    hash_now, blocking = hold_hashing(signer)
    async with server.asking() as asking:
        await asking.send(
            [
                numbered(1, by_pin(signer)),
                numbered(2, as_request(device.approve(USER, payment()))),
            ]
        )
        assert (await asking.next()).number == 2
        stopping = asyncio.create_task(server.server.stop(10.0))
        await asyncio.sleep(0.1)
        hash_now.set()
        late = await asking.next()
        assert (late.number, said(late)) == (1, "AUTHORIZED")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await asking.next()
        refusal = from_rpc_error(ended.value)
        assert refusal is not None
        assert refusal.reason is Reason.SHUTTING_DOWN
        await asyncio.gather(stopping, *blocking)


async def test_events_name_the_caller_as_those_of_calls_do(
    server: SignerServer, owner: asyncpg.Connection
) -> None:
    async with server.asking() as asking:
        await asking.send(numbered(number, by_pin(server.signer, WRONG)) for number in range(1, 7))
        answers = await asking.take(6)
    assert Counter(map(said, answers)) == {"PIN_INCORRECT": 5, "PIN_LOCKED": 1}
    rows = await owner.fetch(
        "SELECT event::text, client, method, ip_address AS address, request_id"
        " FROM signing.events WHERE event IN ('PIN_INCORRECT', 'PIN_LOCKED')"
    )
    assert Counter(row["event"] for row in rows) == {"PIN_INCORRECT": 5, "PIN_LOCKED": 1}
    assert {(row["client"], row["method"], row["address"]) for row in rows} == {
        ("command", "Authorize", "127.0.0.1")
    }
    assert all(row["request_id"] for row in rows)


@pytest.mark.parametrize("identity", ["app", "loadtest", "operator", "analyst", "stranger"])
async def test_only_the_command_service_may_ask(server: SignerServer, identity: str) -> None:
    async with server.channel(identity) as channel:
        asking = Asking(Stub(channel))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await asking.next()
    error = from_rpc_error(refused.value)
    assert error is not None
    assert error.reason is Reason.NOT_PERMITTED
