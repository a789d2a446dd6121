"""A value that is read again and again, trusted only while it is fresh."""

from __future__ import annotations

import asyncio

import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import GrantAction
from paycore.runtime import refreshed
from paycore.runtime.refreshed import MAX_AGE_S, Refreshed, grants_of
from tests.support.clocks import ManualClock


class Number(Refreshed[int]):
    """Counts its reads, each of which may fail or take its time."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__("numbers", clock)
        self.clock = clock
        self.reads = 0
        self.failure: Exception | None = None
        self.takes_s = 0.0

    async def _read(self) -> int:
        self.reads += 1
        self.clock.at_s += self.takes_s
        if self.failure is not None:
            raise self.failure
        return self.reads


@pytest.fixture
def number() -> Number:
    return Number(ManualClock())


def refusal(number: Number) -> PaycoreError:
    with pytest.raises(PaycoreError) as caught:
        number.current()
    return caught.value


async def test_there_is_no_value_before_the_first_read(number: Number) -> None:
    assert refusal(number).reason is Reason.DATABASE_UNAVAILABLE
    assert number.age_s() is None
    assert not number.loaded.is_set()


async def test_the_age_counts_from_the_question(number: Number) -> None:
    number.takes_s = MAX_AGE_S
    await number.load()

    assert number.current() == 1
    number.clock.at_s += 0.001
    assert refusal(number).retry_after_ms


async def test_nothing_ends_the_refreshing(number: Number, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshed, "REFRESH_EVERY_S", 0.001)
    await number.load()
    number.failure = ValueError("a value of a later release")
    running = asyncio.create_task(number.run())
    async with asyncio.timeout(60):
        while number.reads < 5:
            await asyncio.sleep(0.001)
        assert number.current() == 1
        number.failure = None
        while number.current() == 1:
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_grants_of_a_later_release_grant_nothing_and_harm_no_others() -> None:
    rows = [
        {"client": "app", "action": action, "scope": scope, "institution": ""}
        for action, scope in [("READ", "OWN"), ("TELEPORT", "ALL"), ("DEPOSIT", "UNIVERSE")]
    ]

    grants = grants_of(rows)

    assert grants.holds("app", GrantAction.READ)
    assert len(grants.reaches) == 1


class Late(Refreshed[str]):
    """Each read waits until it is told what it finds."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__("late", clock)
        self.found: list[asyncio.Future[str]] = []

    async def _read(self) -> str:
        self.found.append(asyncio.get_running_loop().create_future())
        return await self.found[-1]


async def test_a_read_that_was_overtaken_does_not_bring_back_what_it_found() -> None:
    clock = ManualClock()
    late = Late(clock)
    reads = []
    for place in range(2):
        reads.append(asyncio.create_task(late.load()))
        while len(late.found) <= place:
            await asyncio.sleep(0)
        clock.at_s += 1
    late.found[1].set_result("new")
    await reads[1]
    late.found[0].set_result("old")
    await reads[0]
    assert late.current() == "new"


async def test_the_last_value_is_there_however_old(number: Number) -> None:
    assert number.last() is None
    await number.load()
    number.clock.at_s += 10 * MAX_AGE_S
    refusal(number)
    assert number.last() == 1
