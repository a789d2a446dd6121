"""Callers of the running stack, and a small world of accounts in the states that matter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from deploy.local import LocalStack
from paycore.v1 import account_pb2
from paycore.v1 import account_service_pb2 as accounts_pb2
from tests.support.callers import TIMEOUT_S, Caller, Callers, opening


@dataclass(frozen=True)
class World:
    """Accounts of `app`, all EUR unless they say otherwise."""

    outside: int
    payer: int
    """Has 50,000 minor units."""
    payee: int
    frozen: int
    """Has 1,000 minor units."""
    closed: int
    dollars: int
    foreign: int
    """Opened by `loadtest`."""


@pytest.fixture(scope="session")
async def callers(services: LocalStack) -> AsyncIterator[Callers]:
    """Everybody who may call the stack, and those who may not."""
    async with Callers(services.endpoints) as callers:
        yield callers


@pytest.fixture(scope="session")
async def app(callers: Callers) -> Caller:
    """An ordinary internal service. Its channels belong to the loop that runs while it is made."""
    return callers.of("app")


@pytest.fixture(scope="session")
async def world(callers: Callers, app: Caller) -> World:
    """Made once: the tests of this folder move nothing but what they say."""
    outside, payer, payee, frozen, closed = await app.open(4)
    await app.fund(outside, [payer], 50_000, "EUR")
    await app.fund(outside, [frozen], 1_000, "EUR")
    dollars = (await app.accounts.CreateAccount(opening(currency="USD"), timeout=TIMEOUT_S)).account
    operator = callers.of("operator")
    for account, status in (
        (frozen, account_pb2.ACCOUNT_STATUS_FROZEN),
        (closed, account_pb2.ACCOUNT_STATUS_CLOSED),
    ):
        await operator.accounts.SetAccountStatus(
            accounts_pb2.SetAccountStatusRequest(
                idempotency_key=f"world-{account}",
                account_id=account,
                status=status,
                reason="for the tests",
            ),
            timeout=TIMEOUT_S,
        )
    _, foreign = await callers.of("loadtest").open(1)
    return World(outside, payer, payee, frozen, closed, dollars.id, foreign)


@pytest.fixture
async def tables(services: LocalStack) -> AsyncIterator[asyncpg.Connection]:
    """A look at the services' own database."""
    connection = await asyncpg.connect(services.endpoints.postgres_dsn["paycore_audit"])
    yield connection
    await connection.close()
