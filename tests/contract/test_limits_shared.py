"""Limits by address, user and device hold over all processes, and over items by themselves."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from deploy.local import LocalStack
from paycore.runtime.errors import from_status
from paycore.v1 import account_pb2, actor_pb2
from paycore.v1 import account_service_pb2 as accounts_pb2
from paycore.v1 import transfer_service_pb2 as transfers_pb2
from tests.support.callers import TIMEOUT_S, Caller, Callers, payment, refusal_of
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase

BURST = 12
PAYEES = 3
LIMITS = f"""
[default]
velocity = {{ window_s = 600, payees = {PAYEES}, identifiers = 2 }}

[clients.loadtest]
device = {{ per_s = 0.01, burst = {BURST} }}
user = false
address = {{ per_s = 0.01, burst = {2 * BURST} }}

[clients.loadtest.methods."paycore.v1.TransferService/HoldFunds"]
device = {{ per_s = 0.01, burst = 1 }}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest.fixture
async def callers(
    services: LocalStack, database: OwnDatabase, tmp_path: Path
) -> AsyncIterator[Callers]:
    """Callers of two processes that share the limits of the file."""
    (tmp_path / "limits.toml").write_text(LIMITS)
    async with (
        command_process(
            services.endpoints,
            tmp_path / "command.log",
            POSTGRES_DSN=database.dsn("command"),
            LIMITS_FILE=str(tmp_path / "limits.toml"),
            PROCESSES="2",
        ) as (target, _),
        Callers(services.endpoints, command_target=target) as callers,
    ):
        yield callers


def actor(device: str, address: str = "") -> actor_pb2.Actor:
    return actor_pb2.Actor(user_id="ada", device_id=device, ip_address=address)


def fresh() -> str:
    return secrets.token_hex(8)


async def told(call: Any) -> str:
    """POSTED, or which limit refused it and in what way."""
    refusal = await refusal_of(call)
    if refusal is None:
        return "POSTED"
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED, refusal
    assert refusal.error is not None
    assert refusal.error.retry_after_ms
    return str(refusal.error.metadata["limit"])


def outcomes_of(reply: Any) -> list[str]:
    errors = [from_status(one.error) if one.HasField("error") else None for one in reply.outcomes]
    return ["POSTED" if error is None else error.metadata["limit"] for error in errors]


async def all_limits(callers: Callers) -> tuple[Caller, list[Caller], int, list[int]]:
    opener = callers.of("loadtest")
    _, payer, *payees = await opener.open(PAYEES + 3, balance=5_000)
    return opener, [callers.another("loadtest") for _ in range(6)], payer, payees


async def test_what_holds_over_two_processes(callers: Callers) -> None:
    """One service for all: to start it takes longer than to ask."""
    one, several, payer, payees = await all_limits(callers)

    async def by_device() -> None:
        device = fresh()
        calls = [
            told(caller.submit(payment(payer, payees[0], 1, actor=actor(device))))
            for _ in range(5)
            for caller in several
        ]
        assert Counter(await asyncio.gather(*calls)) == {"POSTED": BURST, "device": 30 - BURST}
        # A method with a limit of its own is counted apart.
        hold = transfers_pb2.HoldFundsRequest(
            idempotency_key=fresh(),
            debit_account_id=payer,
            credit_account_id=payees[0],
            amount=payment(payer, payees[0]).amount,
            actor=actor(device),
        )
        hold.expire_time.GetCurrentTime()
        hold.expire_time.seconds += 3_600
        assert await told(one.transfers.HoldFunds(hold, timeout=TIMEOUT_S)) == "POSTED"
        assert await told(one.transfers.HoldFunds(hold, timeout=TIMEOUT_S)) == "device"
        # Nobody else is concerned.
        assert await told(one.submit(payment(payer, payees[0], 1))) == "POSTED"
        assert await told(one.submit(payment(payer, payees[0], 1, actor=actor(fresh())))) == (
            "POSTED"
        )

    async def by_address() -> None:
        network = f"2001:db8:{secrets.randbelow(65_536):x}:{secrets.randbelow(65_536):x}"
        calls = [
            told(
                caller.submit(
                    payment(payer, payees[0], 1, actor=actor(fresh(), f"{network}::{place}"))
                )
            )
            for place in range(5)
            for caller in several
        ]
        expected = {"POSTED": 2 * BURST, "address": 30 - 2 * BURST}
        assert Counter(await asyncio.gather(*calls)) == expected

    async def by_items() -> None:
        busy, calm = fresh(), fresh()
        items = [
            *(payment(payer, payees[0], 1, actor=actor(busy)) for _ in range(BURST + 1)),
            *(payment(payer, payees[0], 1, actor=actor(calm)) for _ in range(BURST)),
            payment(payer, payees[0], 1),
        ]
        expected = ["device"] * (BURST + 1) + ["POSTED"] * (BURST + 1)
        bulk = transfers_pb2.SubmitTransfersRequest(transfers=items)
        assert outcomes_of(await one.transfers.SubmitTransfers(bulk, timeout=TIMEOUT_S)) == expected
        busy, calm = fresh(), fresh()
        for place, item in enumerate(items[:-1]):
            item.idempotency_key = fresh()
            item.actor.device_id = busy if place <= BURST else calm
        items[-1].idempotency_key = fresh()
        stream = one.transfers.StreamTransfers(
            iter([transfers_pb2.StreamTransfersRequest(transfers=items)]), timeout=TIMEOUT_S
        )
        found = [outcome async for reply in stream for outcome in outcomes_of(reply)]
        assert Counter(found) == Counter(expected)

    async def group() -> None:
        device = fresh()
        several_items = [
            transfers_pb2.GroupedTransfer(
                kind=item.kind,
                debit_account_id=payer,
                credit_account_id=payees[0],
                amount=item.amount,
            )
            for item in [payment(payer, payees[0], 1)] * 7
        ]

        def request() -> transfers_pb2.SubmitTransferGroupRequest:
            return transfers_pb2.SubmitTransferGroupRequest(
                idempotency_key=fresh(), transfers=several_items, actor=actor(device)
            )

        submit = one.transfers.SubmitTransferGroup
        assert await told(submit(request(), timeout=TIMEOUT_S)) == "POSTED"
        assert await told(submit(request(), timeout=TIMEOUT_S)) == "device"

    async def velocity() -> None:
        device = fresh()
        calls = [
            told(caller.submit(payment(payer, payee, 1, actor=actor(device))))
            for payee in payees
            for caller in several[:2]
        ]
        found = await asyncio.gather(*calls)
        passed = {payees[place // 2] for place, word in enumerate(found) if word == "POSTED"}
        assert len(passed) == PAYEES
        assert set(found) == {"POSTED", "velocity"}

    async def identifiers() -> None:
        device, found = fresh(), []
        for account in payees[:3]:
            request = accounts_pb2.LinkExternalIdentifierRequest(
                idempotency_key=fresh(),
                account_id=account,
                identifier=account_pb2.ExternalIdentifier(scheme="stripe", value=fresh()),
                actor=actor(device),
            )
            call = one.accounts.LinkExternalIdentifier(request, timeout=TIMEOUT_S)
            found.append(await told(call))
        assert found == ["POSTED", "POSTED", "velocity"]

    for part in (by_device, by_address, by_items, group, velocity, identifiers):
        await part()


async def test_a_file_that_is_wrong_is_named_at_start(
    services: LocalStack, database: OwnDatabase, tmp_path: Path
) -> None:
    limits, log = tmp_path / "limits.toml", tmp_path / "command.log"
    limits.write_text('[clients.app.methods."paycore.v1.TransferService/Submit"]\ndevice = false\n')
    with pytest.raises(AssertionError, match=r"TransferService/Submit is not known"):
        async with command_process(
            services.endpoints,
            log,
            POSTGRES_DSN=database.dsn("command"),
            LIMITS_FILE=str(limits),
        ):
            pass
