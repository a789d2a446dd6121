"""What happens on the running stack is found in the trail, with who did it and why."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from typing import Any

import asyncpg
import pytest

from deploy.local import LocalStack
from operations.deployment import find_deployment
from operations.trail import TrailEntry, TrailFilter, read_trail
from paycore.client import Money, Pin, TransferOrder
from paycore.client.errors import ClientError, PinTooWeakError
from paycore.signing.v1 import signing_service_pb2 as signing_pb2
from tests.support.callers import TIMEOUT_S, Caller, Callers, payment, refusal_of
from tests.support.load import patient_client

ABOVE_THRESHOLD = 150_000
WITHIN_S = 15.0
"""Refusals are written after a second; the machine may be busy."""


async def entries(
    services: LocalStack, wanted: TrailFilter, least: int, method: str | None = None
) -> list[TrailEntry]:
    """What the trail has of `wanted`, and of calls of `method` only where that is given, once it
    tells of as many as `least`."""
    deployment = find_deployment(services.endpoints.state)
    give_up_s = time.monotonic() + WITHIN_S
    while True:
        told = (await read_trail(deployment, wanted, 1_000)).entries
        found = [one for one in told if method in (None, one.method)]
        if sum(one.count for one in found) >= least or time.monotonic() > give_up_s:
            return found
        await asyncio.sleep(0.2)


async def test_the_life_of_a_pin(services: LocalStack, app: Caller, callers: Callers) -> None:
    user = f"user-{secrets.token_hex(6)}"
    outside, payer, payee = await app.open(2, owner=user)
    await app.fund(outside, [payer], 1_000_000, "EUR")
    order = TransferOrder(payer, payee, Money(ABOVE_THRESHOLD, "EUR"))
    async with patient_client(services.endpoints, "app") as client:
        with pytest.raises(PinTooWeakError):
            await client.enroll_pin(user, Pin("111111"))
        await client.enroll_pin(user, Pin("592713"))
        for _ in range(5):
            with pytest.raises(ClientError):
                await client.submit_transfer(order, pin=Pin("482715"))
    operator: Any = callers.of("operator").signing
    decided: Any = {"user_id": user, "reason": "shown at the desk"}
    await operator.UnlockPin(signing_pb2.UnlockPinRequest(**decided), timeout=TIMEOUT_S)
    await operator.ResetPin(signing_pb2.ResetPinRequest(**decided), timeout=TIMEOUT_S)
    found = await entries(services, TrailFilter(user=user), 15)
    signing = [one for one in reversed(found) if one.source == "SIGNING"]
    assert Counter(one.event for one in signing) == {
        "PIN_REFUSED": 1,
        "PIN_ENROLLED": 1,
        "PIN_INCORRECT": 5,
        "PIN_LOCKED": 1,
        "PIN_UNLOCKED": 1,
        "PIN_RESET": 1,
    }
    by_event = {one.event: one for one in signing}
    enrolled, failed = by_event["PIN_ENROLLED"], by_event["PIN_INCORRECT"]
    assert (enrolled.client, enrolled.method, enrolled.address) == ("app", "EnrollPin", "127.0.0.1")
    assert (failed.client, failed.method) == ("command", "Authorize")
    assert failed.reason == "INCORRECT, 0 attempts left"
    assert by_event["PIN_REFUSED"].reason == "PIN_TOO_WEAK"
    for event in ("PIN_UNLOCKED", "PIN_RESET"):
        assert by_event[event].client == "operator"
        assert by_event[event].reason == "shown at the desk"
    refused = [one for one in found if one.source == "SERVICES"]
    assert {one.event for one in refused} == {"STEP_UP_REFUSED"}
    assert {one.client for one in refused} == {"app"}
    assert sum(one.count for one in refused) == 5
    assert all(one.request_id for one in signing)


async def test_calls_that_are_denied_are_found_by_caller(
    services: LocalStack, callers: Callers
) -> None:
    before = await entries(services, TrailFilter(client="stranger", events=["CALL_DENIED"]), 0)
    stranger = callers.of("stranger")
    for _ in range(40):
        refusal = await refusal_of(stranger.submit(payment(1, 2)))
        assert refusal is not None
        assert refusal.reason == "NOT_PERMITTED"
    wanted = TrailFilter(client="stranger", events=["CALL_DENIED"])
    give_up_s = time.monotonic() + WITHIN_S
    told = 0
    while told < 40 and time.monotonic() < give_up_s:
        await asyncio.sleep(0.2)
        found = await entries(services, wanted, 0)
        new = found[: len(found) - len(before)]
        told = sum(one.count for one in new)
    assert told == 40
    # One row for each process and second at most, whatever comes.
    assert len(new) < 20
    assert {one.method for one in new} == {"paycore.v1.TransferService/SubmitTransfer"}
    assert {one.address for one in new} == {"127.0.0.1"}
    assert {one.database_user for one in new} == {"paycore_command"}


async def test_no_service_reads_what_it_wrote(services: LocalStack) -> None:
    for role in ("command", "signing", "projector", "query"):
        connection = await asyncpg.connect(services.endpoints.postgres_dsn[f"paycore_{role}"])
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("SELECT FROM audit.trail")
        finally:
            await connection.close()
