"""What a correct PIN earns is recorded with its verdict, whatever came while it was checked."""

from __future__ import annotations

import asyncio
import threading

import asyncpg
import pytest

from tests.integration.signing.signer import PIN, Signer
from tests.integration.signing.test_attempts import attempts, outcome


@pytest.mark.parametrize("before", ["a failure", "a lock that came meanwhile"])
async def test_an_approval_after_failures_settles_them_as_any_success(
    signer: Signer, owner: asyncpg.Connection, before: str
) -> None:
    await signer.enrol("user-1")
    hash_now = threading.Event()
    blocking = [asyncio.create_task(signer.hashing.run(hash_now.wait)) for _ in range(2)]
    if before == "a failure":
        await owner.execute("UPDATE signing.attempt_counters SET failures = failures + 1")
    call = asyncio.create_task(signer.pay("user-1", PIN))
    while not await attempts(owner):
        await asyncio.sleep(0.01)
    if before == "a lock that came meanwhile":
        await owner.execute(
            "UPDATE signing.attempt_counters"
            " SET failures = 5, cleared = 5, locked_until_us = signing.now_us() + 60000000"
        )
    hash_now.set()
    assert (await call).user_id == "user-1"
    await asyncio.gather(*blocking)
    decided = await owner.fetchrow(
        "SELECT verdict::text, attempts_left, counter.failures - counter.cleared AS open"
        " FROM signing.attempts CROSS JOIN signing.attempt_counters AS counter"
    )
    left = {"a failure": 5, "a lock that came meanwhile": 0}[before]
    assert tuple(decided) == ("CORRECT", left, 0)


@pytest.mark.parametrize("ended_by", ["a reset", "a verdict"])
async def test_an_approval_that_comes_too_late_is_not_recorded(
    signer: Signer, owner: asyncpg.Connection, ended_by: str
) -> None:
    await signer.enrol("user-1")
    hash_now = threading.Event()
    blocking = [asyncio.create_task(signer.hashing.run(hash_now.wait)) for _ in range(2)]
    call = asyncio.create_task(outcome(signer.pay("user-1", PIN)))
    while not await attempts(owner):
        await asyncio.sleep(0.01)
    if ended_by == "a reset":
        await signer.pins.reset("user-1", "stolen", "operator")
    else:
        await owner.execute(
            "UPDATE signing.attempts"
            " SET verdict = 'ABANDONED', attempts_left = 4, locked_until_us = 0"
        )
    hash_now.set()
    assert await call == "AUTHORIZATION_INVALID"
    await asyncio.gather(*blocking)
    assert await attempts(owner) == {"ABANDONED": 1}
    assert await owner.fetchval("SELECT count(*) FROM signing.authorizations") == 0
