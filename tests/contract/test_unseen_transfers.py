"""A transfer between accounts that a client may not read is, for it, none."""

from __future__ import annotations

import secrets
import time
from typing import Any

import grpc
import pytest

from paycore.v1 import money_pb2, transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.contract.conftest import World
from tests.support.callers import TIMEOUT_S, Caller, Callers, payment, refusal_of

UNKNOWN = 2**62
HOUR_S = 3_600

METHODS = ("CaptureHold", "ReleaseHold", "RefundTransfer", "ReverseTransfer")


def call(caller: Caller, method: str, transfer: int, key: str | None = None) -> Any:
    """Asks for something to follow `transfer`."""
    values: dict[str, Any] = {"idempotency_key": key or secrets.token_hex(12)}
    values["hold_id" if method.endswith("Hold") else "transfer_id"] = transfer
    if method == "ReverseTransfer":
        values["reason"] = "for the test"
    request = getattr(pb2, f"{method}Request")(**values)
    return getattr(caller.transfers, method)(request, timeout=TIMEOUT_S)


async def parent_of(app: Caller, world: World, method: str) -> int:
    """A transfer of app's that `method` may follow."""
    if not method.endswith("Hold"):
        return int((await app.submit(payment(world.payer, world.payee, 1))).transfer.id)
    request = pb2.HoldFundsRequest(
        idempotency_key=secrets.token_hex(12),
        debit_account_id=world.payer,
        credit_account_id=world.payee,
        amount=money_pb2.Money(minor_units=1, currency="EUR"),
    )
    request.expire_time.FromSeconds(int(time.time()) + HOUR_S)
    return int((await app.transfers.HoldFunds(request, timeout=TIMEOUT_S)).transfer.id)


async def told(caller: Caller, method: str, transfer: int, key: str | None = None) -> object:
    """All that a refused caller learns, but the id that it named itself."""
    refusal = await refusal_of(call(caller, method, transfer, key))
    assert refusal is not None
    assert refusal.error is not None
    metadata = dict(refusal.error.metadata)
    assert metadata.pop("id", None) == str(transfer), refusal
    details = refusal.details.replace(str(transfer), "it")
    return refusal.code, refusal.reason, details, metadata


@pytest.mark.parametrize("method", METHODS)
async def test_it_is_as_one_that_does_not_exist(
    app: Caller, callers: Callers, world: World, method: str
) -> None:
    parent, stranger = await parent_of(app, world, method), callers.of("loadtest")
    unseen = await told(stranger, method, parent)
    assert unseen == await told(stranger, method, UNKNOWN)
    assert unseen == (grpc.StatusCode.NOT_FOUND, "TRANSFER_NOT_FOUND", "no transfer it", {})

    outside, customer = await stranger.open(1)
    used = payment(outside, customer, 1, kind=transfer_pb2.TRANSFER_KIND_DEPOSIT)
    await stranger.submit(used)
    for transfer in (parent, UNKNOWN):
        assert await told(stranger, method, transfer, used.idempotency_key) == unseen

    # Its maker can still do what it was made for.
    await call(app, method, parent)


async def test_an_operator_reverses_what_crossed_the_border(
    app: Caller, callers: Callers, world: World
) -> None:
    asked = payment(world.outside, world.payer, 1, kind=transfer_pb2.TRANSFER_KIND_DEPOSIT)
    deposit = (await app.submit(asked)).transfer.id
    reply = await call(callers.of("operator"), "ReverseTransfer", deposit)
    assert reply.transfer.parent_state == transfer_pb2.TRANSFER_STATE_REVERSED
