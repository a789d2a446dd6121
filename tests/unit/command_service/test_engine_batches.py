"""When the engine starts a batch, how many at once, and how large each is; no database here.

The clock stands still unless a test turns it; what the engine sets its alarm for takes its time.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter
from typing import Any, ClassVar

import pytest

from command_service.posting.engine import PostingEngine
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.transfers import Command, Outcome
from tests.support.counted import counted
from tests.support.engine_world import World, told, turns, until
from tests.support.samples import CLIENT, command, group

FLOOD, LIGHT, OTHER = "flood", "light", "other"

Task = asyncio.Task[list[Outcome]]


def sent(world: World, engine: PostingEngine, *commands: Command) -> Task:
    return asyncio.create_task(engine.submit(commands, world.later_s))


def sizes(world: World) -> list[int]:
    return [len(attempted) for attempted in world.store.attempts]


def gated(world: World, *attempts: int) -> None:
    for attempt in attempts:
        world.store.gates[attempt] = asyncio.Event()


def of(client: str, debit: int, credit: int) -> Any:
    return command(debit, credit, 10, client=client)


async def ended(*tasks: Task) -> None:
    """All of them are answered, whatever the answers are."""
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)


async def test_the_next_batch_starts_when_the_newest_in_flight_is_old_enough(
    world: World,
) -> None:
    engine = world.engine(patience_s=0.05)
    gated(world, 1)
    before = asyncio.all_tasks()
    first = sent(world, engine, command(1, 2))
    await turns()
    assert {task.get_name() for task in asyncio.all_tasks() - before - {first}} == {"posting-batch"}
    second = sent(world, engine, command(3, 4))
    await turns()
    assert sizes(world) == [1]
    world.clock.at_s += 0.05
    # Nothing else wakes it: neither batch ends, and nothing more comes.
    async with asyncio.timeout(5):
        assert told(await second) == ["POSTED"]
    assert not first.done()
    world.store.gates[1].set()
    await ended(first)


class Alarms:
    """What is asked of the event loop for later; the first `hasty` of it comes at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hasty: int) -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later
        self.waits: list[float] = []
        self.handles: list[asyncio.TimerHandle] = []

        def noted(delay: float, *arguments: Any, **more: Any) -> asyncio.TimerHandle:
            # The bounds of `asyncio.timeout` are set by another call.
            self.waits.append(delay)
            delay = 0.0 if len(self.waits) <= hasty else delay
            self.handles.append(call_later(delay, *arguments, **more))
            return self.handles[-1]

        monkeypatch.setattr(loop, "call_later", noted)


async def test_an_alarm_is_set_for_the_time_that_is_left_and_set_again_where_it_is_early(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = world.engine(patience_s=8.0)
    gated(world, 1, 2)
    world.clock.at_s = 1_000.0
    first = sent(world, engine, command(1, 2))
    await turns()
    alarms = Alarms(monkeypatch, hasty=3)
    world.clock.at_s = 1_002.0
    second = sent(world, engine, command(3, 4))
    await until(lambda: len(alarms.waits) == 3)
    assert alarms.waits == [6.0] * 3
    assert sizes(world) == [1]
    world.clock.at_s = 1_008.0
    await until(lambda: sizes(world) == [1, 1])
    for gate in world.store.gates.values():
        gate.set()
    await ended(first, second)


async def test_where_both_places_are_taken_an_alarm_is_put_off_until_one_is_free(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms = Alarms(monkeypatch, hasty=0)
    engine = world.engine(patience_s=30.0)
    gated(world, 1, 2)
    world.clock.at_s = 1_000.0
    first = sent(world, engine, command(1, 2))
    await turns()
    waits = sent(world, engine, command(3, 4))
    await turns()
    assert (alarms.waits, sizes(world)) == ([30.0], [1])
    # A full crowd does not wait for it.
    world.clock.at_s = 1_001.0
    many = sent(world, engine, *(command(5, 6) for _ in range(99)))
    await turns()
    assert sizes(world) == [1, 100]
    assert not alarms.handles[0].cancelled()
    later = sent(world, engine, command(7, 8))
    await turns()
    # It would ring for nothing: the end of a batch is what is waited for.
    assert alarms.handles[0].cancelled()
    assert alarms.waits == [30.0]
    world.clock.at_s = 1_002.0
    world.store.gates[1].set()
    await ended(first)
    await turns()
    # The second is young yet.
    assert (alarms.waits, sizes(world)) == ([30.0, 29.0], [1, 100])
    world.store.gates[2].set()
    await ended(waits, many, later)
    assert sizes(world) == [1, 100, 1]


async def test_after_a_crowd_it_is_waited_for_but_not_for_long(world: World) -> None:
    engine = world.engine(gather=inf, gather_s=0.05)
    await ended(sent(world, engine, *(command(1, 2) for _ in range(3))))
    lone = sent(world, engine, command(1, 2))
    await asyncio.sleep(0.02)
    assert sizes(world) == [3]
    world.clock.at_s += 0.05
    await ended(lone)
    # After one alone nobody waits for more.
    await ended(sent(world, engine, command(1, 2)))
    assert sizes(world) == [3, 1, 1]


async def test_as_many_as_there_were_start_at_once(world: World) -> None:
    engine = world.engine(gather=inf, gather_s=60.0)
    await ended(sent(world, engine, *(command(1, 2) for _ in range(3))))
    await ended(sent(world, engine, *(command(1, 2) for _ in range(3))))
    assert sizes(world) == [3, 3]


async def test_a_quick_batch_is_followed_soon(world: World) -> None:
    engine = world.engine(gather=1.0, gather_s=1_000.0)
    await ended(sent(world, engine, *(command(1, 2) for _ in range(3))))
    # Far less than the machine's clock shows, and far more than the batch took.
    world.clock.at_s += 5.0
    await ended(sent(world, engine, command(1, 2)))
    assert sizes(world) == [3, 1]


async def test_a_batch_is_counted_with_its_size_and_its_time(world: World) -> None:
    names = ("paycore_batch_size", "paycore_batch_seconds")
    before = {
        f"{name}_{kind}": counted(f"{name}_{kind}") for name in names for kind in ("count", "sum")
    }
    began = perf_counter()
    await ended(sent(world, world.engine(), *(command(1, 2) for _ in range(3))))
    took_s = perf_counter() - began
    after = {name: counted(name) - count for name, count in before.items()}
    assert (after["paycore_batch_size_count"], after["paycore_batch_size_sum"]) == (1, 3)
    assert after["paycore_batch_seconds_count"] == 1
    assert 0 < after["paycore_batch_seconds_sum"] <= took_s


async def test_batches_in_flight_keep_their_accounts_until_each_has_ended(world: World) -> None:
    engine = world.engine(in_flight=3, patience_s=0.0)
    gated(world, 1, 2)
    first = sent(world, engine, command(1, 2))
    await turns()
    second = sent(world, engine, command(3, 4))
    await turns()
    assert sizes(world) == [1, 1]
    same = sent(world, engine, command(2, 5))
    await turns()
    assert sizes(world) == [1, 1]
    world.store.gates[2].set()
    await ended(second)
    await turns()
    assert sizes(world) == [1, 1]
    world.store.gates[1].set()
    await ended(first, same)


class TestBesideAFlood:
    """The only place in flight is the flood's, and from three waiting commands on there is one
    beside it."""

    LIMITS: ClassVar[dict[str, Any]] = {
        "in_flight": 1, "overlap": 3, "light": 1, "small": 2, "small_for_s": 10.0
    }  # fmt: skip

    async def flooded(self, world: World, engine: PostingEngine, waits: int) -> list[Task]:
        gated(world, 1)
        first = sent(world, engine, of(FLOOD, 1, 2))
        await turns()
        rest = sent(world, engine, *(of(FLOOD, 1, 2) for _ in range(waits)))
        await turns()
        assert sizes(world) == [1]
        return [first, rest]

    async def test_who_has_little_is_served_beside_it(self, world: World) -> None:
        engine = world.engine(**self.LIMITS)
        flood = await self.flooded(world, engine, 2)
        light = sent(world, engine, of(LIGHT, 3, 4))
        await ended(light)
        assert sizes(world) == [1, 1]
        assert not flood[0].done()
        # And again: the place beside is free when what was posted there has ended.
        await ended(sent(world, engine, of(LIGHT, 3, 4)))
        assert sizes(world) == [1, 1, 1]
        world.store.gates[1].set()
        await ended(*flood)

    async def test_not_where_few_wait(self, world: World) -> None:
        engine = world.engine(**self.LIMITS)
        flood = await self.flooded(world, engine, 1)
        light = sent(world, engine, of(LIGHT, 3, 4))
        await turns()
        assert sizes(world) == [1]
        world.store.gates[1].set()
        await ended(*flood, light)

    async def test_as_many_as_there_are_places_and_no_more(self, world: World) -> None:
        engine = world.engine(**self.LIMITS)
        flood = await self.flooded(world, engine, 4)
        gated(world, 2)
        light = sent(world, engine, of(LIGHT, 3, 4))
        await turns()
        assert sizes(world) == [1, 1]
        other = sent(world, engine, of(OTHER, 5, 6))
        await turns()
        assert sizes(world) == [1, 1]
        world.store.gates[2].set()
        await ended(light, other)
        assert not flood[0].done()
        world.store.gates[1].set()
        await ended(*flood)

    async def test_batches_are_small_for_a_while_after_one_was_served(self, world: World) -> None:
        engine = world.engine(**self.LIMITS)
        flood = await self.flooded(world, engine, 5)
        await ended(sent(world, engine, of(LIGHT, 3, 4)))
        world.clock.at_s += 9.0
        world.store.gates[1].set()
        await ended(*flood)
        assert sizes(world) == [1, 1, 2, 2, 1]
        world.clock.at_s += 1.0
        await ended(sent(world, engine, *(of(FLOOD, 1, 2) for _ in range(5))))
        assert sizes(world) == [1, 1, 2, 2, 1, 5]

    async def test_batches_are_full_where_nobody_was_served(self, world: World) -> None:
        engine = world.engine(**self.LIMITS)
        flood = await self.flooded(world, engine, 5)
        world.store.gates[1].set()
        await ended(*flood)
        assert sizes(world) == [1, 5]

    async def test_small_is_no_more_than_a_batch(self, world: World) -> None:
        engine = world.engine(**{**self.LIMITS, "small": 4, "batch": 3})
        flood = await self.flooded(world, engine, 5)
        await ended(sent(world, engine, of(LIGHT, 3, 4)))
        world.store.gates[1].set()
        await ended(*flood)
        assert sizes(world) == [1, 1, 3, 2]

    async def test_what_is_served_beside_it_is_no_crowd_to_wait_for(self, world: World) -> None:
        engine = world.engine(**{**self.LIMITS, "light": 2, "gather": inf, "gather_s": 60.0})
        flood = await self.flooded(world, engine, 1)
        flood.append(sent(world, engine, of(LIGHT, 3, 4), of(LIGHT, 3, 4)))
        await ended(flood[-1])
        world.store.gates[1].set()
        await ended(*flood)
        # The last batch of the flood was one command, whatever was served beside it.
        assert sizes(world) == [1, 2, 1]


async def test_room_is_whole_and_what_one_client_has_is_taken_off(world: World) -> None:
    engine = world.engine(queue=20, spare=0.05, in_flight=1, patience_s=60.0)
    room = await engine.room(CLIENT, world.later_s)
    assert (room, type(room)) == (9, int)
    gated(world, 1)
    begun = sent(world, engine, command(1, 2))
    await turns()
    waits = sent(world, engine, *(command(3, 4) for _ in range(9)))
    await turns()
    # 11 are free, and it has 9 of the others.
    refused = sent(world, engine, *(command(3, 4) for _ in range(3)))
    with pytest.raises(PaycoreError) as caught:
        await refused
    assert caught.value.reason is Reason.OVERLOADED
    more = sent(world, engine, *(command(3, 4) for _ in range(2)))
    await turns()
    late = asyncio.create_task(engine.room(CLIENT, world.clock.monotonic_s() - 1.0))
    await turns(20)
    # Its time is up already: it waits for nothing.
    assert late.done()
    with pytest.raises(PaycoreError) as caught:
        await late
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    world.store.gates[1].set()
    await ended(begun, waits, more)


async def test_a_group_takes_as_much_room_as_it_has_transfers(world: World) -> None:
    engine = world.engine(queue=20, spare=0.0, in_flight=1, patience_s=60.0)
    gated(world, 1)
    begun = sent(world, engine, command(1, 2))
    await turns()
    waits = sent(world, engine, group(command(3, 4), command(4, 5), command(5, 6)))
    await turns()
    assert await engine.room(CLIENT, world.later_s) == (20 - 3 - 3) // 2
    world.store.gates[1].set()
    await ended(begun, waits)


async def test_stopping_waits_for_what_is_under_way_with_an_empty_queue(world: World) -> None:
    engine = world.engine()
    gated(world, 1)
    begun = sent(world, engine, command(1, 2))
    await turns()
    stopping = asyncio.create_task(engine.stop())
    await turns()
    assert not stopping.done()
    world.store.gates[1].set()
    await stopping
    assert told(await begun) == ["POSTED"]


async def test_stopping_posts_at_once_what_waits_for_a_crowd(world: World) -> None:
    engine = world.engine(gather=inf, gather_s=60.0)
    await ended(sent(world, engine, *(command(1, 2) for _ in range(3))))
    lone = sent(world, engine, command(1, 2))
    await turns()
    assert sizes(world) == [3]
    async with asyncio.timeout(5):
        await engine.stop()
        assert told(await lone) == ["POSTED"]
