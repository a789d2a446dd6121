"""Limits through a real Redis: shared, exact, all or nothing, and survived when it is away."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis.asyncio as redis

from deploy.local import Endpoints
from paycore.domain.limits import Limit, RateLimit
from paycore.runtime.breaker import STATE, BreakerState
from paycore.runtime.clock import SystemClock
from paycore.runtime.limits import shared
from paycore.runtime.limits.rate import Charge
from paycore.runtime.limits.script import GcraScript
from paycore.runtime.limits.shared import SharedLimiter
from tests.support.endings import assert_ends_anywhere
from tests.support.tcp_proxy import TcpProxy

SLOW = RateLimit(0.01, 10)
"""So slow that nothing comes back while a test runs."""

FLUSHED = 8
"""A database of Redis that nobody else uses: a test may empty it."""


def state() -> BreakerState:
    return BreakerState(int(STATE.labels("redis")._value.get()))


async def until(wanted: BreakerState) -> None:
    async with asyncio.timeout(60):
        while state() is not wanted:
            await asyncio.sleep(0.005)


async def started(url: str) -> SharedLimiter:
    """A limiter that has asked Redis at least once."""
    limiter = SharedLimiter(url, SystemClock())
    await limiter.start()
    await until(BreakerState.HALF_OPEN)
    assert await limiter.decide([Charge(Limit.CLIENT, name(), SLOW, 1)]) is None
    await until(BreakerState.CLOSED)
    return limiter


def name() -> str:
    return f"limit:test:{secrets.token_hex(8)}"


def through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))


@pytest.fixture
async def limiter(endpoints: Endpoints) -> AsyncIterator[SharedLimiter]:
    limiter = await started(endpoints.redis_url)
    yield limiter
    await limiter.stop()


@pytest.fixture
async def proxy(endpoints: Endpoints) -> AsyncIterator[TcpProxy]:
    parts = urlsplit(endpoints.redis_url)
    async with TcpProxy(parts.hostname or "", parts.port or 0) as proxy:
        yield proxy


async def test_a_burst_passes_exactly_and_is_told_when_more_does(limiter: SharedLimiter) -> None:
    charge = Charge(Limit.DEVICE, name(), RateLimit(50, 10), 1)
    began = time.monotonic()
    decisions = [await limiter.decide([charge]) for _ in range(11)]
    if time.monotonic() - began > 0.015:
        pytest.skip("too busy a machine to tell a burst from what came back meanwhile")
    assert decisions[:10] == [None] * 10
    excess = decisions[10]
    assert excess is not None
    assert 0 < excess.wait_us <= 20_000
    await asyncio.sleep(excess.wait_us / 1_000_000)
    assert await limiter.decide([charge]) is None


async def test_a_cost_that_just_fits_passes_and_one_more_does_not(limiter: SharedLimiter) -> None:
    key = name()
    assert await limiter.decide([Charge(Limit.USER, key, SLOW, 10)]) is None
    assert await limiter.decide([Charge(Limit.USER, key, SLOW, 1)]) is not None
    assert await limiter.decide([Charge(Limit.USER, name(), SLOW, 11)]) is not None


async def test_a_refused_call_takes_nothing_from_its_other_limits(limiter: SharedLimiter) -> None:
    client, user, device = (
        Charge(limit, name(), SLOW, 1) for limit in (Limit.CLIENT, Limit.USER, Limit.DEVICE)
    )
    assert await limiter.decide([device._replace(cost=10)]) is None
    for _ in range(30):
        excess = await limiter.decide([client, user, device])
        assert excess is not None
        assert excess.charge == device
    for untouched in (client, user):
        assert await limiter.decide([untouched._replace(cost=10)]) is None


async def test_the_limit_that_waits_longest_is_named(limiter: SharedLimiter) -> None:
    slower = Charge(Limit.ADDRESS, name(), RateLimit(0.001, 1), 1)
    slow = Charge(Limit.USER, name(), RateLimit(0.01, 1), 1)
    assert await limiter.decide([slower, slow]) is None
    excess = await limiter.decide([slow, slower])
    assert excess is not None
    assert excess.charge.limit is Limit.ADDRESS
    assert excess.wait_us > 900e6


async def test_two_processes_share_one_limit(limiter: SharedLimiter, endpoints: Endpoints) -> None:
    other = SharedLimiter(endpoints.redis_url, SystemClock())
    await other.start()
    try:
        await until(BreakerState.HALF_OPEN)
        charge = Charge(Limit.DEVICE, name(), SLOW, 1)
        both = [one.decide([charge]) for _ in range(20) for one in (limiter, other)]
        decisions = await asyncio.gather(*both)
    finally:
        await other.stop()
    assert sum(excess is None for excess in decisions) == 10


@pytest.fixture
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MOST_A_ROUND", 7)


async def test_each_of_many_is_decided_by_itself_in_rounds_of_bounded_size(
    small_rounds: None, limiter: SharedLimiter
) -> None:
    keys = [name() for _ in range(10)]
    calls = [
        [Charge(Limit.USER, f"{key}u", SLOW, 3), Charge(Limit.DEVICE, f"{key}d", SLOW, 3)]
        for _ in range(5)
        for key in keys
    ]
    decisions = await limiter.decide_each(calls)
    assert [excess is None for excess in decisions] == [True] * 30 + [False] * 20


async def test_all_keys_expire_by_themselves(limiter: SharedLimiter, endpoints: Endpoints) -> None:
    key = name()
    await limiter.decide([Charge(Limit.USER, key, RateLimit(10, 20), 4)])
    async with redis.Redis.from_url(endpoints.redis_url) as own:
        assert 300 <= await own.pttl(key) <= 401
        async for found in own.scan_iter("limit:*"):
            # Gone since it was listed, or going.
            assert await own.pttl(found) != -1


async def test_a_redis_that_was_emptied_is_shared_again_at_once(endpoints: Endpoints) -> None:
    url = urlunsplit(urlsplit(endpoints.redis_url)._replace(path=f"/{FLUSHED}"))
    limiter = await started(url)
    try:
        charge = Charge(Limit.DEVICE, name(), SLOW, 10)
        assert await limiter.decide([charge]) is None
        assert await limiter.decide([charge]) is not None
        async with redis.Redis.from_url(url) as own:
            await own.flushdb()
            await own.script_flush()
        assert await limiter.decide([charge]) is None
        assert await limiter.decide([charge]) is not None
        assert state() is BreakerState.CLOSED
    finally:
        await limiter.stop()


async def waits(limiter: SharedLimiter) -> list[float]:
    """How long each of 200 decisions takes, in seconds; all are let through."""
    found = []
    for _ in range(200):
        began = time.monotonic()
        assert await limiter.decide([Charge(Limit.USER, name(), SLOW, 1)]) is None
        found.append(time.monotonic() - began)
        await asyncio.sleep(0.005)
    return found


def long_waits(waits_s: list[float]) -> int:
    return sum(wait_s > shared.REPLY_WITHIN_S / 2 for wait_s in waits_s)


async def test_nobody_waits_for_a_redis_that_is_slow_and_its_return_is_noticed(
    endpoints: Endpoints, proxy: TcpProxy
) -> None:
    limiter = await started(through(endpoints.redis_url, proxy.port))
    try:
        # A busy machine keeps some waiting whatever Redis does.
        usual_s = await waits(limiter)
        proxy.delay_s = 2.0
        waits_s = await waits(limiter)
        assert state() is BreakerState.OPEN
        # Those that found out, and no others.
        assert long_waits(waits_s) <= 2 + 3 + 2 * long_waits(usual_s)
        assert max(waits_s) < 0.5 + max(usual_s)
        proxy.delay_s = 0.0
        began = time.monotonic()
        await until(BreakerState.HALF_OPEN)
        assert time.monotonic() - began < 5.0
        charge = Charge(Limit.DEVICE, name(), SLOW, 10)
        assert await limiter.decide([charge]) is None
        assert await limiter.decide([charge]) is not None
        assert state() is BreakerState.CLOSED
    finally:
        await limiter.stop()


async def test_a_redis_that_is_gone_leaves_a_stricter_limit_of_this_process(
    endpoints: Endpoints, proxy: TcpProxy
) -> None:
    limiter = await started(through(endpoints.redis_url, proxy.port))
    try:
        proxy.refusing = True
        await proxy.cut()
        charge = Charge(Limit.DEVICE, name(), SLOW, 1)
        decisions = [await limiter.decide([charge]) for _ in range(20)]
        assert [excess is None for excess in decisions] == [True] * 5 + [False] * 15
        assert state() is BreakerState.OPEN
    finally:
        await limiter.stop()


async def test_a_limit_that_becomes_faster_lets_nobody_wait_longer_than_it_would(
    limiter: SharedLimiter,
) -> None:
    key, fast = name(), RateLimit(100, 10)
    assert await limiter.decide([Charge(Limit.USER, key, SLOW, 10)]) is None
    # A thousand seconds of the slow limit are used; of the fast one that is its burst.
    excess = await limiter.decide([Charge(Limit.USER, key, fast, 10)])
    assert excess is not None
    assert excess.wait_us <= 100_000
    await asyncio.sleep(excess.wait_us / 1_000_000)
    assert await limiter.decide([Charge(Limit.USER, key, fast, 10)]) is None


async def test_a_limit_that_becomes_slower_gives_no_more_than_its_burst(
    limiter: SharedLimiter,
) -> None:
    key = name()
    assert await limiter.decide([Charge(Limit.USER, key, RateLimit(1_000, 100), 100)]) is None
    decisions = [await limiter.decide([Charge(Limit.USER, key, SLOW, 1)]) for _ in range(20)]
    assert sum(excess is None for excess in decisions) in (9, 10)


async def test_processes_that_hold_different_limits_for_a_while_do_not_undo_each_other(
    limiter: SharedLimiter,
) -> None:
    key, fast = name(), RateLimit(1_000, 20)
    passed = 0
    for _ in range(20):
        for rate in (SLOW, fast):
            passed += await limiter.decide([Charge(Limit.USER, key, rate, 1)]) is None
    assert passed >= 10
    async with asyncio.timeout(60):
        while await limiter.decide([Charge(Limit.USER, key, fast, 20)]) is not None:
            await asyncio.sleep(0.005)


async def test_a_refused_call_under_a_faster_limit_lets_time_pass_all_the_same(
    limiter: SharedLimiter,
) -> None:
    key, other = name(), name()
    assert await limiter.decide([Charge(Limit.USER, key, SLOW, 10)]) is None
    assert await limiter.decide([Charge(Limit.DEVICE, other, SLOW, 10)]) is None
    fast = Charge(Limit.USER, key, RateLimit(100, 10), 1)
    # Refused by its device, too: what the user used still comes back from now on.
    assert await limiter.decide([fast, Charge(Limit.DEVICE, other, SLOW, 1)]) is not None
    await asyncio.sleep(0.1)
    assert await limiter.decide([fast._replace(cost=10)]) is None


async def test_who_waits_for_a_decision_can_always_be_ended(endpoints: Endpoints) -> None:
    script = GcraScript(endpoints.redis_url)
    await script.load(5.0)
    await assert_ends_anywhere(lambda: script.decide([], [], 5.0))
    await script.close()
