"""What waits together is asked together, in order and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from paycore.runtime.together import LONG_AGO, Together


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
    for _ in range(4):
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


@pytest.fixture
def answering() -> Asked:
    asked = Asked()
    asked.free.set()
    return asked


def patient(asked: Asked, gather_s: float) -> Together[int, int]:
    return Together(asked, at_once=9, most_waiting=9, gather_s=gather_s, refusal=FullError)


async def test_who_asks_in_the_same_turn_comes_along(answering: Asked) -> None:
    one = patient(answering, 60)
    assert await asyncio.gather(*(one.ask(item) for item in (1, 2, 3))) == [2, 4, 6]
    assert answering.batches == [[1, 2, 3]]


async def test_the_lone_do_not_wait(answering: Asked) -> None:
    one = patient(answering, 60)
    async with asyncio.timeout(60):
        assert [await one.ask(item) for item in (1, 2, 3)] == [2, 4, 6]


async def test_after_company_the_first_waits_until_as_many_are_there(answering: Asked) -> None:
    one = patient(answering, 60)
    await asyncio.gather(one.ask(3), one.ask(4))
    async with asyncio.timeout(60):
        tasks = await begun(one, [5])
        await asyncio.sleep(0.02)
        assert answering.batches == [[3, 4]]
        tasks += await begun(one, [6])
        assert await asyncio.gather(*tasks) == [10, 12]
    assert answering.batches == [[3, 4], [5, 6]]


async def test_company_that_stays_away_is_waited_for_so_long_and_in_the_end_not_at_all(
    answering: Asked,
) -> None:
    one = patient(answering, 0.05)
    await asyncio.gather(*(one.ask(item) for item in (1, 2, 3)))
    loop = asyncio.get_running_loop()
    waits_s = []
    for item in range(5):
        began_s = loop.time()
        await one.ask(item)
        waits_s.append(loop.time() - began_s)
    assert waits_s[0] >= 0.05
    # One was there, which is not waited for.
    assert sum(wait_s >= 0.05 for wait_s in waits_s) < 5


async def test_company_of_long_ago_is_not_waited_for(answering: Asked) -> None:
    one = patient(answering, 0.02)
    await asyncio.gather(*(one.ask(item) for item in range(9)))
    await asyncio.sleep(LONG_AGO * 0.02)
    loop = asyncio.get_running_loop()
    waits_s = []
    for item in range(5):
        began_s = loop.time()
        await one.ask(item)
        waits_s.append(loop.time() - began_s)
        await asyncio.sleep(LONG_AGO * 0.02)
    assert min(waits_s) < 0.02


async def test_whoever_knows_better_says_for_how_many_to_wait(answering: Asked) -> None:
    one: Together[int, int] = Together(
        answering,
        at_once=9,
        most_waiting=9,
        gather_s=60,
        refusal=FullError,
        wanted=lambda: 3,
    )
    tasks = [*await begun(one, [1]), *await begun(one, [2])]
    await asyncio.sleep(0.02)
    assert answering.batches == []
    assert await one.ask(3) == 6
    assert await asyncio.gather(*tasks) == [2, 4]
    assert answering.batches == [[1, 2, 3]]


async def test_a_question_carries_no_more_than_it_may_and_one_at_least(answering: Asked) -> None:
    one: Together[int, int] = Together(
        answering,
        at_once=5,
        most_waiting=9,
        gather_s=0.0,
        refusal=FullError,
        weigh=lambda item: item,
    )
    await asyncio.gather(*(one.ask(item) for item in (2, 3, 1, 7, 4)))
    assert answering.batches == [[2, 3], [1], [7], [4]]


async def test_when_it_is_stopped_everybody_gets_another_answer() -> None:
    asked = Asked()
    one = together(asked)
    tasks = [*await begun(one, [1]), *await begun(one, [2, 3])]
    await one.stop(lambda item: -item)
    assert await asyncio.gather(*tasks) == [-1, -2, -3]
    assert asked.batches == [[1]]
