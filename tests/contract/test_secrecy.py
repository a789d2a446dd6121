"""A PIN appears in no table, key, document, log, file or error of the whole system."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import pytest

from deploy.local import LocalStack
from paycore.client import Money, Pin, TransferOrder
from paycore.client.errors import ClientError, PinIncorrectError, PinTooWeakError
from paycore.domain.transfers import StepUpBasis
from paycore.v1 import history_service_pb2
from tests.support.callers import Caller, answered
from tests.support.load import patient_client
from tests.support.stores import (
    everything_in_index,
    everything_in_redis,
    everything_in_tables,
    files_of,
)

ABOVE_THRESHOLD = 150_000


def canary() -> Pin:
    """A PIN that nothing else can look like by chance."""
    while True:
        digits = "".join(secrets.choice("0123456789") for _ in range(12))
        if len(set(digits)) > 6:
            return Pin(digits)


def forms(pin: Pin) -> set[bytes]:
    """Ways in which the PIN might have been written."""
    digits = pin.reveal().encode()
    padded = digits.ljust(16, b"\0")
    return {
        digits,
        digits[::-1],
        digits.hex().encode(),
        base64.b64encode(digits),
        base64.b64encode(padded),
        padded.hex().encode(),
    }


async def test_a_pin_leaves_no_trace_anywhere(services: LocalStack, app: Caller) -> None:
    endpoints = services.endpoints
    right, wrong, weak = canary(), canary(), Pin("111111111111")
    user = f"user-{secrets.token_hex(6)}"
    outside, payer, payee = await app.open(2, owner=user)
    await app.fund(outside, [payer], 1_000_000, "EUR")
    told: list[str] = []
    async with patient_client(endpoints, "app") as client:
        await client.enroll_pin(user, right)
        order = TransferOrder(payer, payee, Money(ABOVE_THRESHOLD, "EUR"))
        done = await client.submit_transfer(order, pin=right)
        assert done.transfer.step_up_basis is StepUpBasis.AUTHORIZED
        told.append(repr(done))
        with pytest.raises(PinIncorrectError) as refused:
            await client.submit_transfer(order, pin=wrong)
        told.append(_everything_of(refused.value))
        with pytest.raises(PinTooWeakError) as refused_weak:
            await client.enroll_pin(f"{user}-2", weak)
        told.append(_everything_of(refused_weak.value))
        position = done.position
        found: Any = await answered(
            lambda: app.history.GetTransfer(_get_transfer(done.transfer.id, position), timeout=15)
        )
        told.append(str(found))

    places = {
        "replies and errors": "\n".join(told).encode(),
        "tables": await everything_in_tables(endpoints),
        "redis": await everything_in_redis(endpoints),
        "index": await everything_in_index(endpoints),
        **dict(files_of(endpoints.state)),
    }
    assert len(places["tables"]) > 1_000
    assert user.encode() in places["tables"]
    assert str(done.transfer.id).encode() in places["index"]
    assert any(name.endswith("signing.log") for name in places)
    leaks = [
        (name, "right" if pin is right else "wrong")
        for name, content in places.items()
        for pin in (right, wrong)
        for form in forms(pin)
        if form in content
    ]
    assert leaks == []


def _get_transfer(transfer: int, position: str) -> Any:
    return history_service_pb2.GetTransferRequest(transfer_id=transfer, min_position=position)


def _everything_of(error: ClientError) -> str:
    return f"{error!r} {error} {vars(error)} {error.__cause__!r} {error.__context__!r}"


def test_a_pin_prints_as_stars_wherever_it_is_printed() -> None:
    pin = canary()
    shown = f"{pin} {pin!r} {pin!s:>20} {[pin]} {(pin,)}"
    assert not any(form.decode("latin-1") in shown for form in forms(pin))
