"""What the client sends again, with which key, for how long."""

import asyncio
import socket
import time

import grpc
import pytest

from paycore.client import PaycoreClient, Pin, Timeouts
from paycore.client.errors import (
    ContentionError,
    DatabaseUnavailableError,
    InsufficientFundsError,
    PinAlreadyEnrolledError,
    RateLimitedError,
    RefusedError,
    TimedOutError,
    TransportError,
    UnreachableError,
)
from paycore.domain.errors import STORED_DECLINES, PaycoreError, Reason
from paycore.signing.v1 import signing_service_pb2
from tests.integration.client.samples import ORDER, submitted
from tests.integration.client.scripted import HANG, Script, serving


def refused(reason: Reason, retry_after_ms: int | None = None) -> PaycoreError:
    figures = {"account": "11"}
    if reason in STORED_DECLINES:
        figures["decline_id"] = "7"
    return PaycoreError(reason, "scripted", figures, retry_after_ms=retry_after_ms)


@pytest.mark.parametrize(
    "failure",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        HANG,
        refused(Reason.CONTENTION, 1),
        refused(Reason.DATABASE_UNAVAILABLE, 1),
        refused(Reason.SIGNER_UNAVAILABLE, 1),
        refused(Reason.RISK_UNAVAILABLE, 1),
        refused(Reason.SHUTTING_DOWN, 1),
    ],
    ids=lambda failure: "no answer" if failure is HANG else str(failure),
)
async def test_a_passing_failure_is_tried_again_with_the_same_key(
    client: PaycoreClient, script: Script, failure: object
) -> None:
    script.play(failure, submitted())
    receipt = await client.submit_transfer(ORDER)
    first, second = script.requests
    assert first == second
    assert first.idempotency_key == receipt.idempotency_key
    assert len(first.idempotency_key) == 36
    assert script.metadata[0]["x-request-id"] == script.metadata[1]["x-request-id"]


async def test_each_command_without_a_key_gets_its_own(
    client: PaycoreClient, script: Script
) -> None:
    script.play(submitted())
    first, second = await asyncio.gather(
        client.submit_transfer(ORDER), client.submit_transfer(ORDER)
    )
    assert first.idempotency_key != second.idempotency_key


RETRIED = {
    Reason.CONTENTION,
    Reason.DATABASE_UNAVAILABLE,
    Reason.SIGNER_UNAVAILABLE,
    Reason.RISK_UNAVAILABLE,
    Reason.INDEX_UNAVAILABLE,
    Reason.INDEX_BEHIND,
    Reason.WATCHER_BEHIND,
    Reason.SHUTTING_DOWN,
    Reason.DEADLINE_EXCEEDED,
}


@pytest.mark.parametrize("reason", sorted(set(Reason) - RETRIED))
async def test_a_verdict_is_not_tried_again(
    client: PaycoreClient, script: Script, reason: Reason
) -> None:
    script.play(refused(reason))
    with pytest.raises(RefusedError) as caught:
        await client.submit_transfer(ORDER)
    assert caught.value.reason is reason
    assert len(script.requests) == 1


async def test_a_bare_code_of_another_kind_is_not_tried_again(
    client: PaycoreClient, script: Script
) -> None:
    script.play(grpc.StatusCode.RESOURCE_EXHAUSTED)
    with pytest.raises(TransportError) as caught:
        await client.submit_transfer(ORDER)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(script.requests) == 1


async def test_attempts_are_bounded_one_by_one_and_in_all(target: str, script: Script) -> None:
    script.play(HANG)
    timeouts = Timeouts(ordinary_s=0.6, total_s=2.1)
    async with PaycoreClient(target, timeouts=timeouts) as client:
        began = time.monotonic()
        with pytest.raises(TimedOutError):
            await client.get_account(1)
        assert time.monotonic() - began < 4.0
    assert 2 <= len(script.requests) <= 4
    assert all(left_s < 0.65 for left_s in script.timeouts_s)


async def test_the_default_attempt_takes_half_a_second(
    client: PaycoreClient, script: Script
) -> None:
    script.play(submitted())
    await client.submit_transfer(ORDER)
    # On its way some of it passes.
    assert 0.05 < script.timeouts_s[0] < 0.55


async def test_the_wait_that_the_service_asks_for_is_kept(
    client: PaycoreClient, script: Script
) -> None:
    script.play(refused(Reason.DATABASE_UNAVAILABLE, 300), submitted())
    began = time.monotonic()
    await client.submit_transfer(ORDER)
    assert 0.3 <= time.monotonic() - began < 5


async def test_a_wait_beyond_the_total_ends_the_call_at_once(
    client: PaycoreClient, script: Script
) -> None:
    script.play(refused(Reason.DATABASE_UNAVAILABLE, 60_000))
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailableError) as caught:
        await client.submit_transfer(ORDER)
    assert time.monotonic() - began < 1
    assert caught.value.retry_after_ms == 60_000


async def test_after_an_unclear_end_the_error_says_so_and_names_the_key(
    target: str, script: Script
) -> None:
    script.play(HANG)
    async with PaycoreClient(target, timeouts=Timeouts(0.1, total_s=0.2)) as client:
        with pytest.raises(TimedOutError) as caught:
            await client.submit_transfer(ORDER)
    assert caught.value.outcome_unknown
    assert caught.value.idempotency_key == script.requests[0].idempotency_key
    assert caught.value.request_id == script.metadata[0]["x-request-id"]
    assert caught.value.attempts == len(script.requests)


async def test_a_stored_verdict_after_an_unclear_attempt_is_certain(
    client: PaycoreClient, script: Script
) -> None:
    script.play(grpc.StatusCode.UNAVAILABLE, refused(Reason.INSUFFICIENT_FUNDS))
    with pytest.raises(InsufficientFundsError) as caught:
        await client.submit_transfer(ORDER)
    assert not caught.value.outcome_unknown


async def test_a_limit_after_an_unclear_attempt_leaves_the_outcome_unknown(
    client: PaycoreClient, script: Script
) -> None:
    script.play(grpc.StatusCode.UNAVAILABLE, refused(Reason.RATE_LIMITED))
    with pytest.raises(RateLimitedError) as caught:
        await client.submit_transfer(ORDER)
    assert caught.value.outcome_unknown


async def test_contention_to_the_end_leaves_nothing_unknown(target: str, script: Script) -> None:
    script.play(refused(Reason.CONTENTION, 1))
    async with PaycoreClient(target, timeouts=Timeouts(total_s=1.0)) as client:
        with pytest.raises(ContentionError) as caught:
            await client.submit_transfer(ORDER)
    assert not caught.value.outcome_unknown
    assert caught.value.attempts > 1


async def test_a_server_that_comes_back_is_reached(script: Script) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script.play(submitted())
    async with PaycoreClient(f"127.0.0.1:{port}") as client:
        sending = asyncio.create_task(client.submit_transfer(ORDER))
        await asyncio.sleep(0.5)
        assert not sending.done()
        async with serving(script, port=port):
            receipt = await sending
    assert receipt.transfer.id == 99


async def test_a_server_that_stays_away_is_unreachable(unused_port: int) -> None:
    timeouts = Timeouts(total_s=0.5)
    async with PaycoreClient(f"127.0.0.1:{unused_port}", timeouts=timeouts) as client:
        with pytest.raises(UnreachableError):
            await client.get_account(1)


async def test_the_same_enrolment_is_sent_again(client: PaycoreClient, script: Script) -> None:
    key = signing_service_pb2.PublicKey(
        key_id="seal-1",
        purpose=signing_service_pb2.KEY_PURPOSE_SEALING,
        public_key=bytes.fromhex("09" + "00" * 31),
        current=True,
    )
    keys = signing_service_pb2.GetPublicKeysResponse(keys=[key])
    script.play(keys, grpc.StatusCode.UNAVAILABLE, refused(Reason.PIN_ALREADY_ENROLLED))
    # Known by its sealed PIN, it would have been answered as the first time.
    with pytest.raises(PinAlreadyEnrolledError):
        await client.enroll_pin("ada", Pin("739154"))
    assert script.requests[1] == script.requests[2]
