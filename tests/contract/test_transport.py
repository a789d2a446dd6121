"""What the transport refuses, before any of our code, and what no message may do to a process."""

from __future__ import annotations

import grpc
import pytest

from deploy.local import LocalStack
from paycore.runtime.channel import MAX_MESSAGE_BYTES, SEPARATE_CONNECTION
from tests.contract.conftest import World
from tests.support.callers import TIMEOUT_S, Caller, payment, raw, refusal_of

SUBMIT = "/paycore.v1.TransferService/SubmitTransfer"
SERVICES = ("command", "query", "signing", "projector")


@pytest.mark.parametrize("service", SERVICES)
async def test_plain_text_is_not_spoken(services: LocalStack, service: str) -> None:
    target = services.endpoints.target(service)
    async with grpc.aio.insecure_channel(target, SEPARATE_CONNECTION) as channel:
        call = raw(channel, "/grpc.health.v1.Health/Check")
        refusal = await refusal_of(call(b"", timeout=5))
    assert refusal is not None
    assert refusal.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_message_over_4_mib_is_refused_and_the_process_goes_on(
    app: Caller, world: World
) -> None:
    call = raw(app.channels["command"], SUBMIT)
    refusal = await refusal_of(call(bytes(MAX_MESSAGE_BYTES + 1), timeout=TIMEOUT_S))
    assert refusal is not None
    assert (refusal.code, refusal.error) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)
    await app.submit(payment(world.payer, world.payee, 1))


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 64, b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x2a" * 10_000, b"\x2a\x80" * 5_000],
    ids=["no tags", "cut short", "not UTF-8", "deep nesting", "endless lengths"],
)
async def test_bytes_that_do_not_decode_are_a_bad_argument(app: Caller, garbage: bytes) -> None:
    call = raw(app.channels["command"], SUBMIT)
    refusal = await refusal_of(call(garbage, timeout=TIMEOUT_S))
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_a_method_that_does_not_exist_is_unimplemented(app: Caller) -> None:
    call = raw(app.channels["command"], "/paycore.v1.TransferService/EmptyTheBank")
    refusal = await refusal_of(call(b"", timeout=TIMEOUT_S))
    assert refusal is not None
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED
