"""Many callers at once, on many accounts and on one."""

from __future__ import annotations

import asyncio
import random
import secrets

import asyncpg
import grpc
import pytest

from deploy.local import LocalStack
from paycore.client import PaycoreClient
from paycore.domain.errors import Reason
from paycore.runtime.errors import from_rpc_error
from paycore.v1 import transfer_service_pb2 as pb2
from tests.crash.conftest import CLIENT
from tests.crash.copies import (
    Figures,
    after_once,
    euros,
    figures,
    hold_request,
    one_of_each,
    without_mark,
)
from tests.support.callers import TIMEOUT_S, Callers, payment, refusal_of
from tests.support.ledger_checks import violations
from tests.support.load import Load, assert_all_there_once
from tests.support.seeds import rounds

PAYMENTS = rounds("PAYCORE_MANY_PAYMENTS", 3_000)
"""Payments of the run with a thousand accounts."""


@pytest.mark.timeout(300 + PAYMENTS // 20)
async def test_a_thousand_accounts_fifty_callers_two_processes(
    services: LocalStack, callers: Callers, client: PaycoreClient, rng: random.Random
) -> None:
    opener = callers.of(CLIENT)
    outside, *accounts = await opener.open(999)
    _, last = await opener.open(1)
    accounts.append(last)
    await opener.fund(outside, accounts, 2_000, "EUR")
    load = Load(client, accounts, rng)
    async with load.running(callers=50) as tally:
        await load.until_answered(PAYMENTS, within_s=300 + PAYMENTS / 20)
    assert not tally.refused
    await assert_all_there_once(tally, CLIENT, services.endpoints.postgres_dsn["paycore_audit"])
    connection = await asyncpg.connect(services.endpoints.postgres_dsn["paycore_audit"])
    try:
        held = await connection.fetchval(
            "SELECT sum(balance) FROM ledger.accounts WHERE id = ANY($1)", accounts
        )
        assert held == 1_000 * 2_000
        instances = await connection.fetchval(
            "SELECT count(DISTINCT (id >> 12) & 1023) FROM ledger.transfers WHERE id = ANY($1)",
            list(tally.posted.values()),
        )
        # Both processes took part: each has an id instance of its own.
        assert instances == 2
    finally:
        await connection.close()


async def test_a_thousand_debits_of_an_account_that_can_afford_400(
    services: LocalStack, callers: Callers
) -> None:
    opener = callers.of(CLIENT)
    outside, payer, *payees = await opener.open(41)
    await opener.fund(outside, [payer], 400 * 7 + 6, "EUR")
    everybody = [callers.another(CLIENT) for _ in range(20)]
    requests = [payment(payer, payees[n % 40], 7) for n in range(1_000)]
    refusals = await asyncio.gather(
        *(refusal_of(everybody[n % 20].submit(one)) for n, one in enumerate(requests))
    )
    assert sum(refusal is None for refusal in refusals) == 400
    assert {refusal.reason for refusal in refusals if refusal} == {"INSUFFICIENT_FUNDS"}
    assert await figures(opener, payer) == Figures(6, 0, 1 + 400)
    connection = await asyncpg.connect(services.endpoints.postgres_dsn["paycore_audit"])
    try:
        instances = await connection.fetchval(
            "SELECT count(DISTINCT (id >> 12) & 1023) FROM ledger.transfers"
            " WHERE debit_account = $1",
            payer,
        )
        # Both processes took part: each has an id instance of its own.
        assert instances == 2
        assert await violations(connection) == []
    finally:
        await connection.close()


async def test_many_captures_of_one_hold_never_take_more_than_it_has(callers: Callers) -> None:
    opener = callers.of(CLIENT)
    _, payer, payee = await opener.open(2, balance=5_000)
    hold = await opener.transfers.HoldFunds(hold_request(payer, payee, 1_000), timeout=TIMEOUT_S)
    everybody = [callers.another(CLIENT) for _ in range(10)]
    captures = [
        pb2.CaptureHoldRequest(
            idempotency_key=secrets.token_hex(12),
            hold_id=hold.transfer.id,
            amount=euros(30),
            final=False,
        )
        for _ in range(100)
    ]
    refusals = await asyncio.gather(
        *(
            refusal_of(everybody[n % 10].transfers.CaptureHold(one, timeout=TIMEOUT_S))
            for n, one in enumerate(captures)
        )
    )
    assert sum(refusal is None for refusal in refusals) == 33
    assert {refusal.reason for refusal in refusals if refusal} == {"EXCEEDS_REMAINING"}
    assert await figures(opener, payer) == Figures(5_000 - 990, 10, 2 + 33)
    assert await figures(opener, payee) == Figures(5_000 + 990, 0, 1 + 33)


async def test_a_hold_that_many_end_at_once_ends_once(callers: Callers) -> None:
    opener = callers.of(CLIENT)
    _, payer, payee = await opener.open(2, balance=5_000)
    hold = await opener.transfers.HoldFunds(hold_request(payer, payee, 1_000), timeout=TIMEOUT_S)
    everybody = [callers.another(CLIENT) for _ in range(10)]

    async def end(n: int) -> int:
        """What was captured."""
        stub, key = everybody[n % 10].transfers, secrets.token_hex(12)
        if n % 2:
            release = pb2.ReleaseHoldRequest(idempotency_key=key, hold_id=hold.transfer.id)
            await stub.ReleaseHold(release, timeout=TIMEOUT_S)
            return 0
        capture = pb2.CaptureHoldRequest(
            idempotency_key=key, hold_id=hold.transfer.id, amount=euros(600)
        )
        return int((await stub.CaptureHold(capture, timeout=TIMEOUT_S)).transfer.amount.minor_units)

    ended = await asyncio.gather(*(end(n) for n in range(40)), return_exceptions=True)
    taken = [one for one in ended if isinstance(one, int)]
    failed = [from_rpc_error(one) for one in ended if isinstance(one, grpc.RpcError)]
    assert len(taken) == 1
    assert [error.reason for error in failed if error] == [Reason.HOLD_NOT_OPEN] * 39
    assert await figures(opener, payer) == Figures(5_000 - taken[0], 0, 3)


async def test_a_hundred_copies_of_one_request_of_each_kind(callers: Callers) -> None:
    opener = callers.of(CLIENT)
    everybody = [callers.another(CLIENT) for _ in range(10)]
    for effect in await one_of_each(opener):
        before = await figures(opener, effect.debited)
        replies = await asyncio.gather(
            *(effect.send(everybody[n % 10].transfers) for n in range(100))
        )
        assert sum(not reply.replayed for reply in replies) == 1, effect.name
        assert len({without_mark(reply) for reply in replies}) == 1, effect.name
        assert await figures(opener, effect.debited) == after_once(before, effect)


async def test_a_hundred_copies_of_one_decline(callers: Callers) -> None:
    _, one, two = await callers.of(CLIENT).open(2, balance=1_000)
    everybody = [callers.another(CLIENT) for _ in range(10)]
    asked = payment(one, two, 1_001)
    refusals = await asyncio.gather(
        *(refusal_of(everybody[n % 10].submit(asked)) for n in range(100))
    )
    told = set()
    firsts = 0
    for refusal in refusals:
        assert refusal is not None
        assert refusal.error is not None
        metadata = dict(refusal.error.metadata)
        firsts += metadata.pop("replayed", None) is None
        told.add((refusal.code, refusal.details, tuple(sorted(metadata.items()))))
    assert (firsts, len(told)) == (1, 1)
    opener = callers.of(CLIENT)
    assert await figures(opener, one) == await figures(opener, two) == Figures(1_000, 0, 1)
