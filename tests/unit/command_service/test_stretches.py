"""Stretches of long requests: one a turn of the event loop, in order."""

from __future__ import annotations

import asyncio

from command_service.servicers.stretches import Stretches


async def _turns_of(count: int, requests: int) -> list[int]:
    """How many stretches of `requests` long requests ran in each turn of the loop."""
    stretches = Stretches()
    ran: list[int] = []
    now = 0

    async def long_request() -> None:
        nonlocal now
        for _ in range(count):
            await stretches.next()
            now += 1

    working = asyncio.gather(*(long_request() for _ in range(requests)))
    while not working.done():
        await asyncio.sleep(0)
        ran.append(now)
        now = 0
    return ran


async def test_two_stretches_never_run_in_one_turn_of_the_loop() -> None:
    ran = await _turns_of(count=10, requests=7)
    assert max(ran) == 1
    assert sum(ran) == 70


async def test_a_request_alone_runs_a_stretch_in_every_other_turn_or_more() -> None:
    ran = await _turns_of(count=20, requests=1)
    assert len(ran) <= 45


async def test_requests_take_their_stretches_in_turns() -> None:
    stretches = Stretches()
    order: list[str] = []

    async def long_request(name: str) -> None:
        for _ in range(3):
            await stretches.next()
            order.append(name)

    await asyncio.gather(long_request("a"), long_request("b"))
    assert order == ["a", "b"] * 3


async def test_who_gives_up_costs_the_others_no_turn() -> None:
    stretches = Stretches()
    gone = asyncio.create_task(stretches.next())
    kept = asyncio.create_task(stretches.next())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait_for(kept, timeout=30)
    await asyncio.wait_for(stretches.next(), timeout=30)
    assert gone.cancelled()
