"""A mixed load at a constant rate, watched all the while, and verified at its end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from deploy.local import LocalStack
from operations.deployment import find_deployment
from operations.verify.deployed import verify_deployment
from paycore.client import PaycoreClient
from tests.support.callers import Callers
from tests.support.crashing.commands import PLAIN
from tests.support.index_checks import assert_index_catches_up
from tests.support.ledger_checks import whole_ledger
from tests.support.load import patient_client
from tests.support.soaking.mix import Mix, mix
from tests.support.soaking.pace import Measured, at_rate
from tests.support.soaking.samples import Samples, sampled
from tests.support.soaking.told import told_breaches
from tests.support.soaking.watchers import Watched, watching

WATCHERS = 20
MOST_UNDER_WAY = 1_000
"""Calls of the mix: with more the system is not keeping up, and this is no soak any more."""

VERIFIED_WITHIN_S = 600.0
HEARD_WITHIN_S = 60.0


@dataclass
class Run:
    """All that was seen of it."""

    rate_per_s: float
    seconds: float
    measured: Measured
    samples: Samples
    watched: Watched
    mix: Mix
    verified_s: float | None = None
    """How long the verification took; None before it held."""


async def soak(
    stack: LocalStack,
    callers: Callers,
    rng: random.Random,
    *,
    rate_per_s: float,
    seconds: float,
    sample_every_s: float,
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Run:
    """Load for `seconds`; `meanwhile` is what else happens."""
    made = await mix(callers, rng)
    measured = Measured()
    endpoints = stack.endpoints
    async with (
        patient_client(endpoints, PLAIN, connections=2) as client,
        watching(client, made.accounts[:WATCHERS], time.time()) as watched,
        sampled(stack, sample_every_s) as samples,
        _beside(meanwhile),
    ):
        await at_rate(rate_per_s, seconds, made.any, MOST_UNDER_WAY, measured)
        await _until_heard(client, watched)
    return Run(rate_per_s, seconds, measured, samples, watched, made)


async def verify(stack: LocalStack, run: Run) -> None:
    """Assert that the ledger is whole, that the index equals it, and that everything is there as
    clients and watchers were told of it."""
    began_s = time.monotonic()
    async with asyncio.timeout(VERIFIED_WITHIN_S):
        await _verify(stack, run.mix)
    assert run.watched.breaches == []
    run.verified_s = time.monotonic() - began_s


async def _verify(stack: LocalStack, made: Mix) -> None:
    endpoints = stack.endpoints
    audit = endpoints.postgres_dsn["paycore_audit"]
    assert await told_breaches(made.told, f"{made.commands.run}-", audit) == []
    await whole_ledger(audit)
    # Sooner than all must be done, so that what differs is told.
    await assert_index_catches_up(endpoints, VERIFIED_WITHIN_S / 2)
    verified = await verify_deployment(find_deployment(endpoints.state))
    assert verified.held, verified


async def _until_heard(client: PaycoreClient, watched: Watched) -> None:
    """Return once watchers have heard of the last entry of each account that had one."""
    async with asyncio.timeout(HEARD_WITHIN_S):
        for account in list(watched.versions):
            stands_at = (await client.get_account(account)).version
            while watched.versions[account] < stands_at:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def _beside(work: Callable[[], Coroutine[Any, Any, None]] | None) -> AsyncIterator[None]:
    """`work` while the block runs; both have ended after it."""
    async with asyncio.TaskGroup() as group:
        if work is not None:
            group.create_task(work())
        yield
