"""Nobody waits for a part that does not answer, and its return is noticed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import REGISTRY

from paycore.runtime.breaker import Breaker, BreakerState, probe_while_open


def breaker(trips_after: int = 2) -> Breaker:
    return Breaker("test", trips_after=trips_after)


def state_of(one: Breaker) -> BreakerState:
    return one.state


def fail(one: Breaker, times: int = 1) -> None:
    for _ in range(times):
        permit = one.permit()
        assert permit is not None
        one.failed(permit)


def half_open() -> Breaker:
    one = breaker()
    fail(one, 2)
    one.probed()
    assert state_of(one) is BreakerState.HALF_OPEN
    return one


def test_it_opens_after_so_many_failures_in_a_row_and_no_fewer() -> None:
    one = breaker(3)
    fail(one, 2)
    permit = one.permit()
    assert permit is not None
    one.succeeded(permit)
    fail(one, 2)
    assert state_of(one) is BreakerState.CLOSED
    fail(one)
    assert state_of(one) is BreakerState.OPEN
    assert one.permit() is None


def test_half_open_it_lets_one_call_through_at_a_time() -> None:
    one = half_open()
    trial = one.permit()
    assert trial is not None
    assert [one.permit() for _ in range(3)] == [None] * 3
    one.unknown(trial)
    again = one.permit()
    assert again is not None
    assert one.permit() is None


def test_the_trial_decides() -> None:
    one = half_open()
    trial = one.permit()
    assert trial is not None
    one.failed(trial)
    assert state_of(one) is BreakerState.OPEN
    assert one.permit() is None
    one.probed()
    trial = one.permit()
    assert trial is not None
    one.succeeded(trial)
    assert state_of(one) is BreakerState.CLOSED
    assert one.permit() is not None


def test_what_began_before_says_nothing_of_the_part_as_it_is_now() -> None:
    one = breaker()
    before = [one.permit() for _ in range(2)]
    fail(one, 2)
    one.probed()
    for permit in before:
        assert permit is not None
        one.failed(permit)
        one.succeeded(permit)
        one.unknown(permit)
    assert state_of(one) is BreakerState.HALF_OPEN
    trial = one.permit()
    assert trial is not None
    one.unknown(before[0] or 0)
    assert one.permit() is None


def test_a_probe_closes_nothing_by_itself() -> None:
    one = breaker()
    one.probed()
    assert state_of(one) is BreakerState.CLOSED
    fail(one, 2)
    one.probed()
    one.probed()
    assert state_of(one) is BreakerState.HALF_OPEN


def test_its_state_is_shown() -> None:
    one = Breaker("shown", trips_after=1)

    def shown() -> float | None:
        return REGISTRY.get_sample_value("paycore_breaker_state", {"breaker": "shown"})

    fail(one)
    assert shown() == 2
    one.probed()
    assert shown() == 1
    one.succeeded(one.permit() or 0)
    assert shown() == 0
    opened = {"breaker": "shown", "to": "open"}
    assert REGISTRY.get_sample_value("paycore_breaker_changes_total", opened) == 1


class Part:
    """Answers probes as it is told."""

    def __init__(self) -> None:
        self.probes = 0
        self.answers = False
        self.hangs = False

    async def probe(self) -> None:
        self.probes += 1
        if self.hangs:
            await asyncio.sleep(3_600)
        if not self.answers:
            raise ConnectionError("away")


@asynccontextmanager
async def probing(one: Breaker, part: Part) -> AsyncIterator[None]:
    task = asyncio.create_task(probe_while_open(one, part.probe, every_s=0.005, within_s=0.02))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(one: Breaker, state: BreakerState) -> None:
    async with asyncio.timeout(30):
        while one.state is not state:
            await asyncio.sleep(0.001)


async def test_probes_are_made_only_while_it_is_open() -> None:
    one, part = breaker(), Part()
    async with probing(one, part):
        await asyncio.sleep(0.03)
        assert part.probes == 0
        fail(one, 2)
        await asyncio.sleep(0.03)
        assert part.probes > 1
        assert state_of(one) is BreakerState.OPEN
        part.answers = True
        await until(one, BreakerState.HALF_OPEN)
        probes = part.probes
        await asyncio.sleep(0.03)
        assert part.probes == probes


async def test_a_probe_that_hangs_is_given_up() -> None:
    one, part = breaker(), Part()
    part.hangs = True
    async with probing(one, part):
        fail(one, 2)
        await asyncio.sleep(0.1)
        assert part.probes > 1
        part.hangs, part.answers = False, True
        await until(one, BreakerState.HALF_OPEN)


async def test_probing_ends_when_it_is_cancelled_though_the_probe_keeps_that_to_itself() -> None:
    one = Breaker("test", trips_after=1, state=BreakerState.OPEN)
    probing = asyncio.Event()

    async def connect() -> None:
        probing.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    task = asyncio.create_task(probe_while_open(one, connect, every_s=0.0, within_s=60))
    await probing.wait()
    task.cancel()
    async with asyncio.timeout(30):
        await asyncio.gather(task, return_exceptions=True)
