"""Room of a stream: taken by reading, given back when outcomes are passed on."""

from __future__ import annotations

import asyncio

from command_service.servicers.stream_flow import Portion, StreamFlow
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.transfers import Refused

REFUSED = Refused(PaycoreError(Reason.INTERNAL, "for the test"))


async def test_room_comes_back_only_when_outcomes_are_passed_on() -> None:
    flow = StreamFlow(3)
    await flow.hold(2)
    waiting = asyncio.create_task(flow.hold(2))
    flow.answer("one", REFUSED)
    assert flow.take(10) == [("one", REFUSED)]
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert flow.held == 2
    flow.give_back(1)
    await waiting
    assert flow.held == 3
    flow.give_back(3)
    assert flow.held == 0


async def test_outcomes_are_taken_in_order_and_so_many_at_a_time() -> None:
    flow = StreamFlow(10)
    await flow.hold(3)
    portion = Portion(flow, ("a", "b", "c"), 0.0)
    for index in (2, 0, 1):
        portion.answer(index, REFUSED)
    assert [key for key, _ in flow.take(2)] == ["c", "a"]
    assert [key for key, _ in flow.take(2)] == ["b"]
    assert flow.take(2) == []
    flow.give_back(3)


async def test_an_answer_that_came_before_is_not_waited_for() -> None:
    flow = StreamFlow(1)
    await flow.hold(1)
    flow.answer("a", REFUSED)
    async with asyncio.timeout(30):
        await flow.changed()
    waiting = asyncio.create_task(flow.changed())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    flow.wake()
    async with asyncio.timeout(30):
        await waiting
    flow.give_back(1)
