"""Questions that wait together share one call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.coalesced import Coalesced

LATE = PaycoreError(Reason.SIGNER_UNAVAILABLE, "late")


class Desk:
    """Answers with the square, once it is open."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def ask(self, keys: Sequence[int]) -> Mapping[int, int]:
        self.calls.append(list(keys))
        await self.open.wait()
        return {key: key * key for key in keys}


def coalesced(desk: Desk, at_once: int, most_waiting: int) -> Coalesced[int, int]:
    return Coalesced(desk.ask, at_once=at_once, most_waiting=most_waiting, gather_s=0.0)


async def test_those_who_come_together_and_while_a_call_is_under_way_share_one() -> None:
    desk = Desk()
    squares = coalesced(desk, 10, 100)
    desk.open.clear()
    first = [asyncio.create_task(squares.get([one, 2], 5, LATE)) for one in (1, 3)]
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(squares.get([one, 3], 5, LATE)) for one in (4, 5)]
    await asyncio.sleep(0.01)
    desk.open.set()
    assert await first[0] == {1: 1, 2: 4}
    assert await later[1] == {5: 25, 3: 9}
    await asyncio.gather(*first, *later)
    assert desk.calls == [[1, 2, 3], [4, 5]]


async def test_what_was_forgotten_is_asked_for_again_by_who_comes_then() -> None:
    desk = Desk()
    squares = coalesced(desk, 10, 100)
    desk.open.clear()
    first = asyncio.create_task(squares.get([1, 2], 5, LATE))
    await asyncio.sleep(0.01)
    squares.forget(1)
    # Asked for after that, before the first has its answer, and shared as ever.
    second, third = (asyncio.create_task(squares.get([1, 2], 5, LATE)) for _ in range(2))
    await asyncio.sleep(0.01)
    desk.open.set()
    for one in (first, second, third):
        assert await one == {1: 1, 2: 4}
    assert desk.calls == [[1, 2], [1]]


async def test_what_is_forgotten_before_it_was_asked_for_is_asked_for_once() -> None:
    desk = Desk()
    squares = coalesced(desk, 10, 100)
    desk.open.clear()
    busy = asyncio.create_task(squares.get([7], 5, LATE))
    await asyncio.sleep(0.01)
    first = asyncio.create_task(squares.get([1], 5, LATE))
    await asyncio.sleep(0.01)
    squares.forget(1)
    second = asyncio.create_task(squares.get([1], 5, LATE))
    await asyncio.sleep(0.01)
    desk.open.set()
    await busy
    assert await first == await second == {1: 1}
    assert desk.calls == [[7], [1]]


async def test_a_call_asks_for_no_more_than_it_may() -> None:
    desk = Desk()
    squares = coalesced(desk, 2, 100)
    assert await squares.get([1, 2, 3, 4, 5], 5, LATE) == {1: 1, 2: 4, 3: 9, 4: 16, 5: 25}
    assert desk.calls == [[1, 2], [3, 4], [5]]


async def test_who_waits_too_long_is_told_and_disturbs_nobody() -> None:
    desk = Desk()
    squares = coalesced(desk, 10, 100)
    desk.open.clear()
    patient = asyncio.create_task(squares.get([1], 5, LATE))
    assert await squares.get([1], 0.01, LATE) == {1: LATE}
    gone = asyncio.create_task(squares.get([1], 5, LATE))
    await asyncio.sleep(0)
    gone.cancel()
    desk.open.set()
    assert await patient == {1: 1}
    assert desk.calls == [[1]]


async def test_beyond_its_room_nobody_waits() -> None:
    desk = Desk()
    squares = coalesced(desk, 2, 3)
    desk.open.clear()
    waiting = asyncio.create_task(squares.get([1, 2], 5, LATE))
    await asyncio.sleep(0.01)
    refused = await squares.get([3, 4], 5, LATE)
    assert {error.reason for error in refused.values() if isinstance(error, PaycoreError)} == {
        Reason.OVERLOADED
    }
    desk.open.set()
    assert await waiting == {1: 1, 2: 4}
    assert await squares.get([3, 4], 5, LATE) == {3: 9, 4: 16}


@pytest.mark.parametrize("within_s", [0.0, -1.0])
async def test_without_time_nothing_is_awaited(within_s: float) -> None:
    desk = Desk()
    desk.open.clear()
    squares = coalesced(desk, 2, 3)
    assert await squares.get([1], within_s, LATE) == {1: LATE}
    desk.open.set()
