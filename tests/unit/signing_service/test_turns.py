"""Calls about one user take turns, bounded in number and time."""

from __future__ import annotations

import asyncio

import pytest

from paycore.domain.errors import PaycoreError, Reason
from signing_service import turns as module
from signing_service.turns import AT_ONCE, Turns, overloaded


async def test_few_proceed_at_once_in_order_of_arrival() -> None:
    turns, order, running = Turns(), list[int](), 0

    async def call(number: int) -> None:
        nonlocal running
        async with turns.of("user-1", timeout_s=5, out_of_time=overloaded):
            running += 1
            assert running <= AT_ONCE
            order.append(number)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(call(number) for number in range(40)))
    assert order == list(range(40))


async def test_users_do_not_wait_for_each_other() -> None:
    turns = Turns()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        free = asyncio.Event()
        for _ in range(AT_ONCE):
            group.create_task(_hold(turns, "user-1", free))
        await asyncio.sleep(0)
        async with turns.of("user-2", timeout_s=1, out_of_time=overloaded):
            free.set()


async def test_the_wait_ends_with_a_refusal_that_says_when_to_retry() -> None:
    turns, free = Turns(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(_hold(turns, "user-1", free))
        await asyncio.sleep(0)
        with pytest.raises(PaycoreError) as raised:
            async with turns.of("user-1", timeout_s=0.01, out_of_time=overloaded):
                pytest.fail("no turn was free")
        free.set()
    assert raised.value.reason is Reason.OVERLOADED
    assert raised.value.retry_after_ms is not None
    async with turns.of("user-1", timeout_s=0.01, out_of_time=overloaded):
        pass


async def test_no_more_wait_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_PER_USER", AT_ONCE + 1)
    turns, free = Turns(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE + 1):
            group.create_task(_hold(turns, "user-1", free))
        await asyncio.sleep(0)
        with pytest.raises(PaycoreError) as raised:
            async with turns.of("user-1", timeout_s=5, out_of_time=overloaded):
                pytest.fail("one too many waited")
        free.set()
    assert raised.value.reason is Reason.OVERLOADED


async def test_nothing_is_kept_of_users_whose_calls_ended() -> None:
    turns = Turns()
    for number in range(100):
        async with turns.of(f"user-{number}", timeout_s=1, out_of_time=overloaded):
            pass
    assert not turns._turns


async def _hold(turns: Turns, user_id: str, free: asyncio.Event) -> None:
    async with turns.of(user_id, timeout_s=5, out_of_time=overloaded):
        await free.wait()
