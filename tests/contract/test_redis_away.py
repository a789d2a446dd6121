"""Payments do not notice that Redis is away, late or emptied.

PAYCORE_AWAY_SECONDS says how long Redis is away; the other states last as long, a minute at most.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis.asyncio as redis

from deploy.local import LocalStack
from paycore.runtime.limits.shared import REPLY_WITHIN_S, TRIPS_AFTER
from paycore.v1 import actor_pb2
from tests.support.callers import Caller, Callers, payment, refusal_of
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase
from tests.support.seeds import rounds
from tests.support.tcp_proxy import TcpProxy

AWAY_S = rounds("PAYCORE_AWAY_SECONDS", 3)
OTHERS_S = min(AWAY_S, 60)
CALLERS = 8
OWN = "/9"
"""A database of Redis that nobody else uses: it is emptied."""

LONG_S = 20
"""From as many seconds on, finding out that Redis is away concerns less than one in a
hundred calls."""

pytestmark = pytest.mark.timeout(120 + AWAY_S + 5 * OTHERS_S)


@dataclass
class Phase:
    """What callers saw while Redis was in one state."""

    name: str
    lasts_s: int = OTHERS_S
    waits_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def share_s(self, share: float) -> float:
        return sorted(self.waits_s)[int(share * (len(self.waits_s) - 1))]


@dataclass
class Field:
    """Callers, their accounts, and the way to Redis."""

    callers: list[Caller]
    accounts: list[int]
    proxy: TcpProxy
    redis: redis.Redis
    rng: random.Random

    async def pay(self, phase: Phase) -> None:
        """Pay for as long as `phase` lasts, each caller one after the other."""
        end_s = time.monotonic() + phase.lasts_s

        async def work(caller: Caller) -> None:
            while time.monotonic() < end_s:
                debit, credit = self.rng.sample(self.accounts, 2)
                # Everybody has a device and an address of its own: each call asks Redis.
                actor = actor_pb2.Actor(
                    user_id=secrets.token_hex(4),
                    device_id=secrets.token_hex(8),
                    ip_address=f"10.{'.'.join(str(self.rng.randrange(256)) for _ in range(3))}",
                )
                began = time.monotonic()
                refusal = await refusal_of(caller.submit(payment(debit, credit, 1, actor=actor)))
                phase.waits_s.append(time.monotonic() - began)
                if refusal is not None:
                    phase.errors.append(refusal.reason or refusal.details)

        await asyncio.gather(*(work(caller) for caller in self.callers))

    async def in_state(self, name: str) -> Phase:
        """Bring Redis into the state `name`, pay meanwhile, and bring it back."""
        phase = Phase(name, AWAY_S if name == "down" else OTHERS_S)
        self.proxy.refusing = name == "down"
        self.proxy.delay_s = 2.0 if name == "late" else 0.0
        if name == "down":
            await self.proxy.cut()

        async def empty() -> None:
            while name == "emptied":
                await self.redis.flushdb()
                await self.redis.script_flush()
                await asyncio.sleep(0.1)

        emptying = asyncio.create_task(empty())
        try:
            await self.pay(phase)
        finally:
            emptying.cancel()
            self.proxy.refusing, self.proxy.delay_s = False, 0.0
        await asyncio.gather(emptying, return_exceptions=True)
        # Until it is shared again.
        await asyncio.sleep(1.0)
        return phase


@pytest.fixture
async def field_of_play(
    services: LocalStack, database: OwnDatabase, tmp_path: Path, rng: random.Random
) -> AsyncIterator[Field]:
    endpoints = services.endpoints
    parts = urlsplit(endpoints.redis_url)._replace(path=OWN)
    async with (
        TcpProxy(parts.hostname or "", parts.port or 0) as proxy,
        redis.Redis.from_url(urlunsplit(parts)) as own,
        command_process(
            endpoints,
            tmp_path / "command.log",
            POSTGRES_DSN=database.dsn("command"),
            REDIS_URL=urlunsplit(
                parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{proxy.port}")
            ),
            PROCESSES="2",
        ) as (target, _),
        Callers(endpoints, command_target=target) as callers,
    ):
        _, *accounts = await callers.of("loadtest").open(50, balance=1_000_000)
        several = [callers.another("loadtest") for _ in range(CALLERS)]
        yield Field(several, accounts, proxy, own, rng)


async def test_no_payment_fails_or_waits_while_redis_is_away(field_of_play: Field) -> None:
    await field_of_play.pay(Phase("warm"))
    calm = await field_of_play.in_state("calm")
    phases = [await field_of_play.in_state(name) for name in ("down", "late", "emptied")]
    again = await field_of_play.in_state("calm again")
    for phase in (calm, *phases, again):
        print(
            f"{phase.name}: {len(phase.waits_s)} payments in {phase.lasts_s} s, {len(phase.errors)}"
            f" errors, p50 {1e3 * phase.share_s(0.5):.1f} ms, p99 {1e3 * phase.share_s(0.99):.1f}"
            f" ms, max {1e3 * max(phase.waits_s):.1f} ms"
        )
    assert [phase.errors for phase in (calm, *phases, again)] == [[]] * 5
    calm_s = max(calm.share_s(0.99), again.share_s(0.99))
    finding_out_s = 0.0 if OTHERS_S >= LONG_S else TRIPS_AFTER * REPLY_WITHIN_S
    for phase in phases:
        assert phase.share_s(0.99) <= 2 * calm_s + finding_out_s, phase.name
