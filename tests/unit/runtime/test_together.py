"""What waits together is asked together, in order and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from paycore.runtime.together import Together


class FullError(Exception):
    """Too many wait."""


class Asked:
    """Doubles numbers, once it may; remembers what it was asked at once."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await self.free.wait()
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


def together(asked: Asked, at_once: int = 3, most_waiting: int = 100) -> Together[int, int]:
    return Together(
        asked, at_once=at_once, most_waiting=most_waiting, gather_s=0.0, refusal=FullError
    )


async def begun(one: Together[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(one.ask(item)) for item in items]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_others_are_asked_is_asked_at_once() -> None:
    asked = Asked()
    one = together(asked)
    tasks = [*await begun(one, [1]), *await begun(one, [2, 3, 4, 5])]
    asked.free.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
    assert asked.batches == [[1], [2, 3, 4], [5]]


async def test_a_failure_is_of_those_asked_together_only() -> None:
    asked = Asked()
    one = together(asked)
    tasks = [*await begun(one, [1]), *await begun(one, [12, 13, 14, 15])]
    asked.free.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, ValueError, ValueError, ValueError, int]
    assert await one.ask(7) == 14


async def test_a_caller_that_goes_away_takes_no_answer_of_others_with_it() -> None:
    asked = Asked()
    one = together(asked)
    first, gone, stays = [*await begun(one, [1]), *await begun(one, [2, 3])]
    gone.cancel()
    asked.free.set()
    assert (await first, await stays) == (2, 6)


async def test_more_than_may_wait_are_refused() -> None:
    asked = Asked()
    one = together(asked, most_waiting=2)
    tasks = [*await begun(one, [1]), *await begun(one, [2, 3])]
    with pytest.raises(FullError):
        await one.ask(4)
    asked.free.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6]


async def test_answers_that_are_too_few_are_nobodys() -> None:
    async def forgetful(items: Sequence[int]) -> list[int]:
        return list(items)[1:]

    one: Together[int, int] = Together(
        forgetful, at_once=3, most_waiting=9, gather_s=0.0, refusal=FullError
    )
    with pytest.raises(ValueError, match="zip"):
        await one.ask(1)


async def test_only_what_comes_after_company_waits_for_more() -> None:
    asked = Asked()
    asked.free.set()
    one = Together(asked, at_once=9, most_waiting=9, gather_s=0.05, refusal=FullError)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await one.ask(1)
    await one.ask(2)
    assert loop.time() - began_s < 0.04
    await asyncio.gather(one.ask(3), one.ask(4))
    began_s = loop.time()
    tasks = await begun(one, [5])
    await asyncio.sleep(0.01)
    tasks += await begun(one, [6])
    assert await asyncio.gather(*tasks) == [10, 12]
    assert 0.04 < loop.time() - began_s < 1
    assert asked.batches == [[1], [2], [3, 4], [5, 6]]
