"""A client that asks for too much is told how long to wait, and others are not concerned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import grpc
import pytest
import redis.asyncio as redis

from deploy.local import Endpoints, LocalStack
from paycore.runtime.errors import from_status
from paycore.v1 import transfer_service_pb2 as transfers_pb2
from tests.support.callers import TIMEOUT_S, Callers, payment, refusal_of
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import counts

RATE_PER_S = 50
BURST = 2_000


def other_redis(endpoints: Endpoints) -> str:
    """A database of Redis where these limits disturb nobody."""
    return urlunsplit(urlsplit(endpoints.redis_url)._replace(path="/7"))


@pytest.fixture
async def limited(
    services: LocalStack, database: OwnDatabase, tmp_path: Path
) -> AsyncIterator[Callers]:
    """Callers of a command service that admits BURST commands at once and few after."""
    endpoints = services.endpoints
    async with redis.Redis.from_url(other_redis(endpoints)) as own:
        await own.flushdb()
    async with (
        command_process(
            endpoints,
            tmp_path / "command.log",
            POSTGRES_DSN=database.dsn("command"),
            REDIS_URL=other_redis(endpoints),
            CLIENT_RATE_PER_S=str(RATE_PER_S),
            CLIENT_BURST=str(BURST),
        ) as (target, _),
        Callers(endpoints, command_target=target) as callers,
    ):
        yield callers


async def test_a_client_beyond_its_rate_is_told_when_to_come_back(
    limited: Callers, database: OwnDatabase
) -> None:
    greedy, modest = limited.of("loadtest"), limited.of("app")
    _, one, two = await greedy.open(2, balance=5_000)
    batch = transfers_pb2.SubmitTransfersRequest(
        transfers=[payment(one, two, 1) for _ in range(900)]
    )
    for _ in range(2):
        await greedy.transfers.SubmitTransfers(batch, timeout=TIMEOUT_S)
    tables = await asyncpg.connect(database.dsn("audit"))
    try:
        before = await counts(tables)
        refusals = [
            await refusal_of(greedy.transfers.SubmitTransfers(batch, timeout=TIMEOUT_S))
            for _ in range(3)
        ]
        assert await counts(tables) == before
    finally:
        await tables.close()
    for refusal in refusals:
        assert refusal is not None
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "RATE_LIMITED",
        )
        assert refusal.error is not None
        assert refusal.error.metadata == {"limit": "client", "per_s": str(RATE_PER_S)}
        assert refusal.error.retry_after_ms is not None
        assert 0 < refusal.error.retry_after_ms < 1_000 * BURST / RATE_PER_S
    # The limit is each client's own.
    assert await modest.open(1)


async def test_the_wait_that_is_told_is_long_enough(limited: Callers) -> None:
    greedy = limited.of("loadtest")
    _, one, two = await greedy.open(2, balance=5_000)
    batch = transfers_pb2.SubmitTransfersRequest(
        transfers=[payment(one, two, 1) for _ in range(990)]
    )
    for _ in range(2):
        await greedy.transfers.SubmitTransfers(batch, timeout=TIMEOUT_S)
    small = transfers_pb2.SubmitTransfersRequest(
        transfers=[payment(one, two, 1) for _ in range(100)]
    )
    refusal = await refusal_of(greedy.transfers.SubmitTransfers(small, timeout=TIMEOUT_S))
    assert refusal is not None
    assert refusal.error is not None
    assert refusal.error.retry_after_ms is not None
    await asyncio.sleep(refusal.error.retry_after_ms / 1_000 + 0.05)
    reply = await greedy.transfers.SubmitTransfers(small, timeout=TIMEOUT_S)
    errors = [from_status(one.error) for one in reply.outcomes if one.HasField("error")]
    assert errors == []
