"""Parts die in the middle of the load; nothing acknowledged is lost, nothing is done twice.

PAYCORE_CRASH_ROUNDS says how often each is killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.local import LocalStack
from paycore.client import PaycoreClient
from tests.crash.conftest import CLIENT
from tests.crash.copies import Effect, after_once, figures, insistently, one_of_each, without_mark
from tests.support.callers import Callers, answered
from tests.support.index_checks import assert_index_catches_up
from tests.support.load import Load, assert_all_there_once
from tests.support.seeds import rounds

ROUNDS = rounds("PAYCORE_CRASH_ROUNDS", 1)

pytestmark = pytest.mark.timeout(240 + 120 * ROUNDS)


def workers_of(stack: LocalStack) -> list[int]:
    """Process ids of the command service's workers, not of the process that watches them."""
    found = []
    for pid in stack.part_pids("command"):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"--worker" in arguments:
            found.append(pid)
    return found


async def until_two_workers(stack: LocalStack, without: int | None = None) -> None:
    async with asyncio.timeout(60):
        while len(found := workers_of(stack)) < 2 or without in found:
            await asyncio.sleep(0.1)


async def write_out(stack: LocalStack) -> None:
    """Have PostgreSQL write all that it knows to the disk."""
    connection = await asyncpg.connect(stack.endpoints.postgres_admin_dsn)
    try:
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def check(load: Load, stack: LocalStack) -> None:
    """Whatever happened, this must be true of it now."""
    await load.settle()
    dsn = stack.endpoints.postgres_dsn["paycore_audit"]
    await assert_all_there_once(load.tally, CLIENT, dsn)
    assert load.tally.silent_refusals == []


async def test_a_command_process_is_killed(
    services: LocalStack, load: Load, callers: Callers, rng: random.Random
) -> None:
    bare = [callers.another(CLIENT) for _ in range(4)]
    async with load.running(bare=bare) as tally:
        for _ in range(ROUNDS):
            await load.until_answered(50)
            await asyncio.sleep(rng.random() / 5)
            victim = rng.choice(workers_of(services))
            os.kill(victim, signal.SIGKILL)
            # The other process, and then the new one, take the callers over.
            await load.until_answered(100)
            await until_two_workers(services, without=victim)
    assert tally.answered > 100
    await check(load, services)
    await assert_index_catches_up(services.endpoints)


async def test_the_whole_command_service_is_killed(
    services: LocalStack, load: Load, callers: Callers
) -> None:
    bare = [callers.another(CLIENT) for _ in range(4)]
    async with load.running(bare=bare):
        for _ in range(ROUNDS):
            await load.until_answered(50)
            await asyncio.to_thread(services.crash_part, "command")
            await asyncio.to_thread(services.wait_part, "command")
            await load.until_answered(50)
    await check(load, services)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_one_key_through_ends_of_the_processes_has_one_effect(
    services: LocalStack, callers: Callers, rng: random.Random, end: signal.Signals
) -> None:
    opener = callers.of(CLIENT)
    effects = await one_of_each(opener)
    before = [await figures(opener, effect.debited) for effect in effects]
    everybody = [callers.another(CLIENT) for _ in range(10)]

    async def copy(effect: Effect, n: int) -> Any:
        # Some before the processes end, some while they are gone, some after.
        await asyncio.sleep(rng.random() * 1.5)
        return await insistently(effect.send, everybody[n % 10 :] + everybody[: n % 10])

    copies = asyncio.gather(*(copy(effect, n) for effect in effects for n in range(100)))
    await asyncio.sleep(0.2)
    for victim in workers_of(services):
        os.kill(victim, end)
        await until_two_workers(services, without=victim)
    replies = await copies
    for place, effect in enumerate(effects):
        mine = replies[place * 100 : place * 100 + 100]
        # None, when the process that had the first was gone before it answered.
        assert sum(not reply.replayed for reply in mine) <= 1, effect.name
        assert len({without_mark(reply) for reply in mine}) == 1, effect.name
        after = await answered(partial(figures, opener, effect.debited))
        assert after == after_once(before[place], effect), effect.name


async def test_the_projector_is_killed(
    services: LocalStack, load: Load, rng: random.Random
) -> None:
    async with load.running():
        for _ in range(ROUNDS):
            await load.until_answered(200)
            await asyncio.sleep(rng.random() / 5)
            await asyncio.to_thread(services.crash_part, "projector")
            # Payments do not notice.
            await load.until_answered(200)
            await asyncio.to_thread(services.wait_part, "projector")
    await check(load, services)
    await assert_index_catches_up(services.endpoints)


async def test_postgresql_restarts(
    services: LocalStack, load: Load, callers: Callers, client: PaycoreClient
) -> None:
    bare = [callers.another(CLIENT) for _ in range(8)]
    async with load.running(bare=bare) as tally:
        for _ in range(ROUNDS):
            await load.until_answered(100)
            await asyncio.to_thread(services.stop_part, "postgres")
            # Long enough for batches to run out of tries.
            await asyncio.sleep(1.5)
            await asyncio.to_thread(services.start_part, "postgres")
            await load.until_answered(200)
    # Those without retries were told so; those with them got through.
    assert tally.refused["DATABASE_UNAVAILABLE"] > 0
    assert set(tally.refused) <= {"DATABASE_UNAVAILABLE", "DEADLINE_EXCEEDED", "TimedOutError"}
    await check(load, services)
    await assert_index_catches_up(services.endpoints)


async def test_postgresql_is_killed(services: LocalStack, load: Load, callers: Callers) -> None:
    bare = [callers.another(CLIENT) for _ in range(4)]
    # The accounts are on the disk whatever a commit waits for: if something is lost, it is payments
    # that were answered.
    await write_out(services)
    async with load.running(bare=bare):
        for _ in range(ROUNDS):
            await load.until_answered(100)
            await asyncio.to_thread(services.crash_part, "postgres")
            await asyncio.to_thread(services.wait_part, "postgres")
            await load.until_answered(100)
    await check(load, services)
    await assert_index_catches_up(services.endpoints)


async def test_elasticsearch_stops(services: LocalStack, load: Load) -> None:
    async with load.running() as tally:
        for _ in range(ROUNDS):
            await load.until_answered(50)
            await asyncio.to_thread(services.stop_part, "elasticsearch")
            await load.until_answered(200)
            await asyncio.to_thread(services.start_part, "elasticsearch")
    assert not tally.refused
    await check(load, services)
    # By itself: nobody told the projector that it is back.
    await assert_index_catches_up(services.endpoints)


async def test_redis_stops(services: LocalStack, load: Load) -> None:
    async with load.running() as tally:
        for _ in range(ROUNDS):
            await load.until_answered(50)
            await asyncio.to_thread(services.stop_part, "redis")
            await load.until_answered(200)
            await asyncio.to_thread(services.start_part, "redis")
            await load.until_answered(50)
    assert not tally.refused
    await check(load, services)
