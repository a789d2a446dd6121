"""Many callers at once, on many accounts and on one."""

from __future__ import annotations

import asyncio
import random

import asyncpg
import pytest

from deploy.local import LocalStack
from paycore.client import PaycoreClient
from paycore.v1 import account_service_pb2 as accounts_pb2
from tests.crash.conftest import CLIENT
from tests.support.callers import TIMEOUT_S, Callers, payment, refusal_of
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


async def test_a_hundred_copies_of_one_request(callers: Callers) -> None:
    _, one, two = await callers.of(CLIENT).open(2, balance=1_000)
    everybody = [callers.another(CLIENT) for _ in range(10)]
    asked = payment(one, two, 10, description="once", reference="copies")
    replies = await asyncio.gather(*(everybody[n % 10].submit(asked) for n in range(100)))
    assert sum(not reply.replayed for reply in replies) == 1
    for reply in replies:
        reply.replayed = False
    assert len({reply.SerializeToString(deterministic=True) for reply in replies}) == 1
    after = await _balances(callers, one, two)
    assert after == {one: (990, 2), two: (1_010, 2)}


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
    assert await _balances(callers, one, two) == {one: (1_000, 1), two: (1_000, 1)}


async def _balances(callers: Callers, *accounts: int) -> dict[int, tuple[int, int]]:
    """Balance and version of each account."""
    found = {}
    for account in accounts:
        reply = await callers.of(CLIENT).accounts.GetAccount(
            accounts_pb2.GetAccountRequest(account_id=account), timeout=TIMEOUT_S
        )
        found[account] = (reply.account.balance_minor_units, reply.account.version)
    return found
