"""Account commands of several clients: whose turn it is, how many wait, who has given up."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Awaitable, Callable

import pytest
import structlog

from command_service.accounts import turns
from command_service.accounts.turns import AT_ONCE, MOST_WAITING, AccountTurns
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import SystemClock


class Desk:
    """Account commands that last until they are told to end, and the order in which they began."""

    def __init__(self) -> None:
        self.turns = AccountTurns(SystemClock())
        self.began: list[str] = []
        self._ends: list[asyncio.Event] = []

    def ask(self, client: str, deadline_s: float = math.inf) -> asyncio.Task[None]:
        return asyncio.create_task(self.turns.run(client, self._work(client), deadline_s))

    async def end_one(self) -> None:
        """End the command that began first, and let the next begin."""
        self._ends.pop(0).set()
        await settle()

    def _work(self, client: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            self.began.append(client)
            end = asyncio.Event()
            self._ends.append(end)
            await end.wait()

        return work


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def flooded(desk: Desk, count: int) -> list[asyncio.Task[None]]:
    asked = [desk.ask("flood") for _ in range(count)]
    await settle()
    assert desk.began == ["flood"] * AT_ONCE
    return asked


async def finish(desk: Desk, asked: list[asyncio.Task[None]]) -> None:
    while not all(task.done() for task in asked):
        await desk.end_one()
    await asyncio.gather(*asked)


async def test_a_light_client_is_next_but_one_however_many_a_flood_has_waiting(desk: Desk) -> None:
    asked = await flooded(desk, 300)
    asked.append(desk.ask("light"))
    await settle()
    await desk.end_one()
    await desk.end_one()
    assert desk.began[AT_ONCE:] == ["flood", "light"]
    await finish(desk, asked)
    assert desk.began.count("flood") == 300


async def test_a_client_s_own_commands_keep_their_order(desk: Desk) -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)
        await asyncio.sleep(0)

    await asyncio.gather(
        *(desk.turns.run("one", lambda n=n: note(n), math.inf) for n in range(20))  # type: ignore[misc]
    )
    assert order == list(range(20))


async def test_a_flood_fills_half_of_the_places_and_leaves_room_for_others(desk: Desk) -> None:
    asked = await flooded(desk, AT_ONCE + MOST_WAITING // 2)
    with pytest.raises(PaycoreError) as refusal:
        await asyncio.wait_for(desk.ask("flood"), 30)
    assert refusal.value.reason is Reason.OVERLOADED
    assert refusal.value.retry_after_ms == turns.RETRY_AFTER_MS
    asked.append(desk.ask("light"))
    await finish(desk, asked)
    assert "light" in desk.began[: AT_ONCE + 2]


async def test_whoever_gave_up_is_passed_over_and_costs_nobody_a_turn(desk: Desk) -> None:
    asked = await flooded(desk, AT_ONCE)
    late = desk.ask("late", time.monotonic() + 0.01)
    gone = desk.ask("gone")
    stays = desk.ask("stays")
    with pytest.raises(PaycoreError) as refusal:
        await late
    assert refusal.value.reason is Reason.DEADLINE_EXCEEDED
    gone.cancel()
    await settle()
    await desk.end_one()
    assert desk.began[AT_ONCE:] == ["stays"]
    await finish(desk, [*asked, stays])


@pytest.mark.parametrize("steps", range(6))
async def test_a_turn_is_lost_in_no_moment_in_which_its_caller_gives_up(
    desk: Desk, steps: int
) -> None:
    asked = await flooded(desk, AT_ONCE)
    gone, stays = desk.ask("gone"), desk.ask("stays")
    await settle()
    ending = asyncio.create_task(desk.end_one())
    for _ in range(steps):
        await asyncio.sleep(0)
    gone.cancel()
    await ending
    await finish(desk, [*asked, stays])
    assert gone.cancelled()
    assert desk.began[-1] == "stays"
    desk.began.clear()
    await finish(desk, await flooded(desk, AT_ONCE + 1))


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (PaycoreError(Reason.ILLEGAL_STATE, "closed"), []),
        (RuntimeError("a fault"), ["task failed"]),
    ],
)
async def test_what_a_command_comes_to_whose_caller_has_gone_is_logged_where_it_is_a_fault(
    error: Exception, logged: list[str]
) -> None:
    """Nor does the loop complain that nobody has looked at it."""
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(context["message"])
    )
    began, may_end = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        await may_end.wait()
        raise error

    with structlog.testing.capture_logs() as lines:
        asked = asyncio.create_task(AccountTurns(SystemClock()).run("app", work, math.inf))
        await began.wait()
        asked.cancel()
        await asyncio.wait([asked])
        may_end.set()
        await settle()
        # Its exception's frames hold the command's task.
        del asked
        gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert [line["event"] for line in lines] == logged
    assert complaints == []
