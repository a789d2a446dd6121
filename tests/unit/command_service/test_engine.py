"""What the engine makes of each thing that a store may say, and whom it lets in; no database here.

What it does with PostgreSQL is in tests/integration/command_service/test_engine.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from command_service import anew
from command_service.posting.store import (
    ConflictError,
    HeldError,
    OutcomeUnknownError,
    RejectedError,
    UnreachableError,
)
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.planning import ids_needed
from paycore.domain.rules import Rules
from paycore.domain.transfers import Command, Posted, Refused
from tests.support.counted import counted
from tests.support.engine_world import LATER_S, World, always, told, turns, until
from tests.support.samples import CLIENT, NOW_US, command, group, rules


async def test_each_command_is_answered_with_its_own_outcome_under_ids_of_one_taking(
    world: World,
) -> None:
    commands: list[Command] = [
        command(1, 2, 10),
        command(3, 4, 5_000),
        group(command(5, 6), command(6, 7)),
    ]
    before = counted("paycore_outcomes_total", reason="POSTED")
    outcomes = await world.engine().submit(commands, world.later_s)
    assert told(outcomes) == ["POSTED", "DECLINED", "GROUPPOSTED"]
    assert world.store.attempts == [commands]
    # One for the journal, beside what the plan may need.
    assert world.ids.taken == [1 + sum(map(ids_needed, commands))]
    assert world.store.journals == [1]
    first = outcomes[0]
    assert isinstance(first, Posted)
    assert first.transfer.id == 2
    assert first.transfer.created_at_us == NOW_US
    assert counted("paycore_outcomes_total", reason="POSTED") == before + 3
    assert [which for which, _ in world.told] == commands
    assert [outcome for _, outcome in world.told] == outcomes


@pytest.mark.parametrize(
    ("failure", "cause"),
    [(ConflictError("40P01"), "conflict"), (UnreachableError("gone"), "unreachable")],
)
async def test_it_is_tried_again_after_a_pause(
    world: World, failure: Exception, cause: str
) -> None:
    world.store.happens = [always(failure)] * 2
    before = counted("paycore_batch_retries_total", cause=cause)
    assert told(await world.engine().submit([command(1, 2)], world.later_s)) == ["POSTED"]
    assert len(world.store.attempts) == 3
    assert world.pauses == [0.01, 0.02]
    assert counted("paycore_batch_retries_total", cause=cause) == before + 2


@pytest.mark.parametrize(
    ("failure", "reason", "retry_after_ms"),
    [
        (ConflictError("40P01"), "CONTENTION", 50),
        (UnreachableError("gone"), "DATABASE_UNAVAILABLE", 250),
    ],
)
async def test_after_all_attempts_the_last_failure_is_told(
    world: World, failure: Exception, reason: str, retry_after_ms: int
) -> None:
    world.store.otherwise = always(failure)
    [refused] = await world.engine().submit([command(1, 2)], world.later_s)
    assert told([refused]) == [reason]
    assert isinstance(refused, Refused)
    assert refused.error.retry_after_ms == retry_after_ms
    assert len(world.store.attempts) == 1 + len(anew.BACKOFF_S)
    assert world.pauses == list(anew.BACKOFF_S)


async def test_what_is_told_is_the_failure_of_the_last_attempt(world: World) -> None:
    world.store.happens = [always(ConflictError("40P01"))] * 5
    world.store.otherwise = always(UnreachableError("gone"))
    assert told(await world.engine().submit([command(1, 2)], world.later_s)) == [
        "DATABASE_UNAVAILABLE"
    ]
    world.store.happens = [always(UnreachableError("gone"))] * 5
    world.store.otherwise = always(ConflictError("40P01"))
    assert told(await world.engine().submit([command(1, 2)], world.later_s)) == ["CONTENTION"]


async def test_an_unknown_outcome_and_an_error_of_the_store_are_not_tried_again(
    world: World,
) -> None:
    engine = world.engine()
    world.store.happens = [always(OutcomeUnknownError("17"))]
    assert told(await engine.submit([command(1, 2)], world.later_s)) == ["DATABASE_UNAVAILABLE"]
    full = PaycoreError(Reason.OVERLOADED, "no ids are left")
    world.store.happens = [always(full)]
    [refused] = await engine.submit([command(1, 2)], world.later_s)
    assert refused == Refused(full)
    assert len(world.store.attempts) == 2
    assert world.pauses == []


async def test_a_defect_is_told_under_its_error_id_and_others_go_on(world: World) -> None:
    engine = world.engine()
    world.store.happens = [always(ZeroDivisionError())]
    [refused] = await engine.submit([command(1, 2)], world.later_s)
    assert told([refused]) == ["INTERNAL"]
    assert isinstance(refused, Refused)
    assert len(refused.error.metadata["error_id"]) == 16
    assert told(await engine.submit([command(1, 2)], world.later_s)) == ["POSTED"]


async def test_a_row_that_the_tables_refuse_fails_alone(world: World) -> None:
    commands = [command(one, one + 1) for one in (1, 3, 5, 7)] + [command(9, 8)]
    offender = commands[2]

    def happens(attempted: Sequence[Command]) -> None:
        if offender in attempted:
            raise RejectedError("23514 trap")

    world.store.otherwise = happens
    before = counted("paycore_rejected_rows_total")
    with capture_logs() as logged:
        outcomes = await world.engine().submit(commands, world.later_s)
    assert told(outcomes) == ["POSTED", "POSTED", "INTERNAL", "POSTED", "POSTED"]
    # Who reads the log finds which rule it was, by the id that the caller was told.
    refused = outcomes[2]
    assert isinstance(refused, Refused)
    [entry] = [one for one in logged if one["log_level"] == "error"]
    assert entry["rule"] == "23514 trap"
    assert entry["error_id"] == refused.error.metadata["error_id"]
    assert len(entry["error_id"]) == 16
    assert counted("paycore_rejected_rows_total") == before + 1
    assert [len(one) for one in world.store.attempts] == [5, 2, 3, 1, 2]
    assert world.pauses == []


async def test_one_that_meets_a_conflict_each_time_is_parted_from_the_others(
    world: World,
) -> None:
    commands = [command(1, 2), command(3, 4)]

    def happens(attempted: Sequence[Command]) -> None:
        if commands[0] in attempted:
            raise ConflictError("40001")

    world.store.otherwise = happens
    assert told(await world.engine().submit(commands, world.later_s)) == ["CONTENTION", "POSTED"]
    assert [len(one) for one in world.store.attempts] == [2] * 6 + [1] * 6 + [1]


async def test_a_conflict_that_was_not_there_each_time_parts_nobody(world: World) -> None:
    world.store.happens = [always(UnreachableError("gone"))]
    world.store.otherwise = always(ConflictError("40001"))
    outcomes = await world.engine().submit([command(1, 2), command(3, 4)], world.later_s)
    assert told(outcomes) == ["CONTENTION"] * 2
    assert [len(one) for one in world.store.attempts] == [2] * 6


async def test_only_those_wait_who_need_what_is_held(world: World) -> None:
    stuck, free = command(1, 2), command(3, 4)
    world.store.held = {AccountId(1)}
    world.store.happens = [always(HeldError(frozenset({AccountId(1)})))]
    before = counted("paycore_batch_retries_total", cause="held")
    outcomes = await world.engine().submit([stuck, free], world.later_s)
    assert told(outcomes) == ["CONTENTION", "POSTED"]
    assert world.store.attempts == [[stuck, free], [free]]
    assert counted("paycore_batch_retries_total", cause="held") == before + 1


async def test_what_was_held_is_looked_at_before_the_next_batch_waits_for_it(
    world: World,
) -> None:
    engine = world.engine()
    world.store.held = {AccountId(1)}
    world.store.happens = [always(HeldError(frozenset({AccountId(1)})))]
    assert told(await engine.submit([command(1, 2)], world.later_s)) == ["CONTENTION"]
    assert told(await engine.submit([command(2, 1)], world.later_s)) == ["CONTENTION"]
    # The second was never tried: the look before it was enough.
    assert len(world.store.attempts) == 1
    world.store.held.clear()
    assert told(await engine.submit([command(1, 2)], world.later_s)) == ["POSTED"]


async def test_held_by_somebody_unknown_it_is_tried_again(world: World) -> None:
    world.store.happens = [always(HeldError(frozenset()))]
    assert told(await world.engine().submit([command(1, 2)], world.later_s)) == ["POSTED"]
    assert world.pauses == [0.01]


async def test_held_by_somebody_unknown_each_time_it_is_contended(world: World) -> None:
    world.store.otherwise = always(HeldError(frozenset()))
    assert told(await world.engine().submit([command(1, 2)], world.later_s)) == ["CONTENTION"]
    assert len(world.store.attempts) == 1 + len(anew.BACKOFF_S)


async def test_what_was_held_is_posted_once_it_is_free_and_what_waited_behind_it_after_it(
    world: World,
) -> None:
    engine = world.engine()
    stuck, behind = command(1, 2), command(1, 3)
    world.store.held = {AccountId(1)}
    world.store.happens = [always(HeldError(frozenset({AccountId(1)})))]
    waits = asyncio.create_task(engine.submit([stuck], world.later_s))
    await until(lambda: world.pauses != [])
    queued = asyncio.create_task(engine.submit([behind], world.later_s))
    await asyncio.sleep(0)
    world.store.held.clear()
    # Nothing else is under way that could begin what is in the queue.
    async with asyncio.timeout(5):
        assert told(await waits) == ["POSTED"]
        assert told(await queued) == ["POSTED"]
    assert world.store.attempts == [[stuck], [stuck], [behind]]


async def test_a_store_that_answers_too_few_is_a_defect_and_nobody_waits_for_ever(
    world: World,
) -> None:
    world.store.leaves_out = 1
    outcomes = await world.engine().submit([command(1, 2), command(3, 4)], world.later_s)
    assert told(outcomes) == ["POSTED", "INTERNAL"]


async def test_a_caller_that_gave_up_is_not_posted(world: World) -> None:
    engine = world.engine()
    now_s = world.clock.monotonic_s()
    assert told(await engine.submit([command(1, 2)], now_s)) == ["DEADLINE_EXCEEDED"]
    assert world.store.attempts == []
    assert told(await engine.submit([command(1, 2)], now_s + 0.001)) == ["POSTED"]


async def test_between_attempts_those_who_gave_up_are_left_out(world: World) -> None:
    engine = world.engine()

    def slow(_: Sequence[Command]) -> None:
        world.clock.at_s += 5.0
        raise ConflictError("40001")

    world.store.happens = [slow]
    soon = asyncio.create_task(engine.submit([command(1, 2)], world.clock.monotonic_s() + 5.0))
    late = asyncio.create_task(engine.submit([command(3, 4)], world.later_s))
    assert told(await soon) == ["DEADLINE_EXCEEDED"]
    assert told(await late) == ["POSTED"]
    assert [len(one) for one in world.store.attempts] == [2, 1]

    world.store.happens = [slow]
    assert told(await engine.submit([command(1, 2)], world.clock.monotonic_s() + 5.0)) == [
        "DEADLINE_EXCEEDED"
    ]
    assert len(world.store.attempts) == 3


async def test_under_the_locks_those_who_gave_up_meanwhile_are_left_out(world: World) -> None:
    engine = world.engine()

    def slow(_: Sequence[Command]) -> None:
        world.clock.at_s += 5.0

    world.store.happens = [slow]
    now_s = world.clock.monotonic_s()
    several = [
        asyncio.create_task(engine.submit([command(one, one + 1)], now_s + within_s))
        for one, within_s in ((1, 5.0), (3, LATER_S), (5, 4.0), (7, LATER_S))
    ]
    assert [told(await one) for one in several] == [
        ["DEADLINE_EXCEEDED"], ["POSTED"], ["DEADLINE_EXCEEDED"], ["POSTED"]
    ]  # fmt: skip
    for task, debit in ((several[1], 3), (several[3], 7)):
        [posted] = await task
        assert isinstance(posted, Posted)
        assert posted.transfer.debit_account == debit
    assert len(world.store.attempts) == 1


async def test_a_batch_goes_by_the_rules_of_its_moment(world: World) -> None:
    engine = world.engine()
    # Rules that change while the batch waits for its locks are those that it asks the past by.
    world.rules = Rules(Grants.of(()), {})
    assert told(await engine.submit([command(1, 2)], world.later_s)) != ["POSTED"]
    world.rules = rules()

    def changed(_: Sequence[Command]) -> None:
        world.rules = Rules(Grants.of([Grant(CLIENT, GrantAction.READ, GrantScope.OWN)]), {})

    world.store.happens = [changed]
    assert told(await engine.submit([command(1, 2)], world.later_s)) != ["POSTED"]


async def test_commands_of_one_turn_share_a_batch_and_busy_accounts_wait(world: World) -> None:
    engine = world.engine(patience_s=0.0, gather=0.0)
    world.store.gates[1] = asyncio.Event()
    first = [asyncio.create_task(engine.submit([command(1, 2)], world.later_s)) for _ in range(2)]
    await turns()
    assert [len(one) for one in world.store.attempts] == [2]
    world.clock.at_s += 1
    same = asyncio.create_task(engine.submit([command(2, 3)], world.later_s))
    other = asyncio.create_task(engine.submit([command(4, 5)], world.later_s))
    assert told(await other) == ["POSTED"]
    assert not same.done()
    assert [len(one) for one in world.store.attempts] == [2, 1]
    world.store.gates[1].set()
    for one in (*first, same):
        assert told(await one) == ["POSTED"]
    assert [len(one) for one in world.store.attempts] == [2, 1, 1]


async def test_a_full_queue_refuses_the_whole_call(world: World) -> None:
    engine = world.engine(queue=5)
    before = counted("paycore_queue_overloaded_total")
    refused = counted("paycore_outcomes_total", reason="OVERLOADED")
    commands: list[Command] = [
        group(command(1, 2), command(2, 3)),
        *(command(4, 5) for _ in range(4)),
    ]
    with pytest.raises(PaycoreError) as caught:
        await engine.submit(commands, world.later_s)
    assert caught.value.reason is Reason.OVERLOADED
    assert dict(caught.value.metadata) == {"limit": "5"}
    assert caught.value.retry_after_ms == 200
    assert CLIENT in str(caught.value)
    assert counted("paycore_queue_overloaded_total") == before + 1
    assert counted("paycore_outcomes_total", reason="OVERLOADED") == refused + len(commands)
    assert [which for which, _ in world.told] == commands
    assert {told([outcome])[0] for _, outcome in world.told} == {"OVERLOADED"}
    assert world.store.attempts == []
    # As much as its share is taken.
    assert told(await engine.submit(commands[:-1], world.later_s)) == [
        "GROUPPOSTED", "POSTED", "POSTED", "POSTED"
    ]  # fmt: skip


async def test_a_stopped_engine_answers_what_it_took_and_takes_no_more(world: World) -> None:
    engine = world.engine(in_flight=1, patience_s=60.0)
    world.store.gates[1] = asyncio.Event()
    tasks = [asyncio.create_task(engine.submit([command(1, 2)], world.later_s)) for _ in range(1)]
    await turns()
    tasks.append(asyncio.create_task(engine.submit([command(3, 4)], world.later_s)))
    await turns()
    stopping = asyncio.create_task(engine.stop())
    await turns()
    assert not stopping.done()
    with pytest.raises(PaycoreError) as caught:
        await engine.submit([command(5, 6)], world.later_s)
    assert caught.value.reason is Reason.SHUTTING_DOWN
    assert "shutting down" in str(caught.value)
    with pytest.raises(PaycoreError) as caught:
        await engine.room(CLIENT, world.later_s)
    assert caught.value.reason is Reason.SHUTTING_DOWN
    world.store.gates[1].set()
    await stopping
    assert [told(await one) for one in tasks] == [["POSTED"], ["POSTED"]]


async def test_streams_have_half_of_the_share_that_calls_leave(world: World) -> None:
    engine = world.engine(queue=100, spare=0.1, in_flight=1, patience_s=60.0)
    assert await engine.room(CLIENT, world.later_s) == (100 - 10) // 2
    world.store.gates[1] = asyncio.Event()
    begun = asyncio.create_task(engine.submit([command(1, 2)], world.later_s))
    await turns()
    waits = asyncio.create_task(engine.submit([command(3, 4)] * 44, world.later_s))
    await turns()
    assert await engine.room(CLIENT, world.later_s) == 1
    more = asyncio.create_task(engine.submit([command(3, 4)], world.later_s))
    await turns()
    with pytest.raises(PaycoreError) as caught:
        await engine.room(CLIENT, world.clock.monotonic_s() + 0.01)
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    room = asyncio.create_task(engine.room(CLIENT, world.later_s))
    await turns()
    assert not room.done()
    world.store.gates[1].set()
    async with asyncio.timeout(5):
        assert await room == 45
    for one in (begun, waits, more):
        await one


async def test_who_waits_for_room_hears_that_the_process_ends(world: World) -> None:
    engine = world.engine(queue=20, in_flight=1, patience_s=60.0)
    world.store.gates[1] = asyncio.Event()
    begun = asyncio.create_task(engine.submit([command(1, 2)], world.later_s))
    await turns()
    waits = asyncio.create_task(engine.submit([command(3, 4)] * 9, world.later_s))
    await turns()
    room = asyncio.create_task(engine.room(CLIENT, world.later_s))
    await turns()
    stopping = asyncio.create_task(engine.stop())
    with pytest.raises(PaycoreError) as caught:
        await room
    assert caught.value.reason is Reason.SHUTTING_DOWN
    world.store.gates[1].set()
    await stopping
    await asyncio.gather(begun, waits)
