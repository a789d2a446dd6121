"""No id comes twice, whatever clocks are stepped to, and ids go on as soon as there can be any."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextvars import ContextVar, copy_context
from itertools import pairwise
from typing import Any, TypeVar

import asyncpg
import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime import snowflake
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.id_numbers import SAFETY_S
from paycore.runtime.snowflake import WAITED_OUT_MS, IdSource, created_at_ms
from tests.support.clocks import ShiftedClock
from tests.support.databases import OwnDatabase

HOUR_S = 3_600.0
SOON_S = 5.0
"""How long it may take a process to go on with another number, in seconds, on a busy machine."""

T = TypeVar("T")

CLOCK: ContextVar[Clock] = ContextVar("CLOCK")
"""That of the process whose code is running."""


@pytest.fixture(autouse=True)
def clock_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generators' clock too is that of their process."""
    # Half a microsecond more: as much as a double may lack, which would be another millisecond.
    monkeypatch.setattr("snowflake.snowflake.time", lambda: (CLOCK.get().now_us() + 0.5) / 1e6)


@pytest.fixture
async def admin(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


def reason_why_none_are_left(ids: IdSource) -> PaycoreError | None:
    """What `ids` says of it now: it changes between two looks."""
    return ids.stranded


class Process:
    """What issues ids, by a clock of its own."""

    def __init__(self, dsn: str, shift_s: float = 0.0) -> None:
        self.clock = ShiftedClock(wall_only=True)
        self.clock.shift_s = shift_s
        self.ids = IdSource(dsn, self.clock, "ids")
        self._context = copy_context()
        self._context.run(CLOCK.set, self.clock)

    async def start(self) -> Process:
        await self._here(self.ids.start())
        return self

    async def take(self, count: int = 1) -> list[int]:
        return await self._here(self.ids.take(count))

    async def take_soon(self, count: int = 1) -> list[int]:
        """Ids, asked for again as a client would."""
        async with asyncio.timeout(SOON_S):
            while True:
                try:
                    return await self.take(count)
                except PaycoreError:
                    await asyncio.sleep(0.05)

    async def stop(self) -> None:
        await self._here(self.ids.stop())

    async def _here(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.create_task(work, context=self._context)


@pytest.fixture
async def processes(database: OwnDatabase) -> AsyncIterator[list[Process]]:
    """Whatever a test has started; it is stopped afterwards."""
    started: list[Process] = []
    yield started
    for process in started:
        await process.stop()


@pytest.fixture
async def process(database: OwnDatabase, processes: list[Process]) -> Process:
    """One whose clock is right."""
    processes.append(await Process(database.dsn("command")).start())
    return processes[-1]


async def only_number_left(admin: asyncpg.Connection, number: int) -> None:
    """Have all other numbers be leased for long."""
    await admin.execute(
        "INSERT INTO ledger.id_leases SELECT number, gen_random_uuid(), now() + interval '1 day'"
        " FROM generate_series(0, 1023) AS number WHERE number <> $1"
        " ON CONFLICT (instance) DO UPDATE SET expires_at = EXCLUDED.expires_at",
        number,
    )


async def expire(admin: asyncpg.Connection, number: int) -> None:
    """Have the lease of `number` be over, as time alone would."""
    await admin.execute(
        "UPDATE ledger.id_leases SET expires_at = now() - interval '1 s' WHERE instance = $1",
        number,
    )


async def test_a_small_step_back_is_waited_out(process: Process) -> None:
    number = process.ids.instance
    (before,) = await process.take()
    process.clock.shift_s = -0.3
    (after,) = await process.take_soon()
    assert after > before
    assert process.ids.instance == number


async def test_after_a_step_of_an_hour_back_ids_go_on_under_another_number(
    process: Process, admin: asyncpg.Connection
) -> None:
    process.clock.shift_s = HOUR_S
    ahead = await process.take_soon(500)
    first = process.ids.instance
    process.clock.shift_s = 0
    # No client has to ask again: the call itself waits for the other number.
    async with asyncio.timeout(SOON_S):
        right = await process.take(500)
    assert process.ids.instance != first
    assert not set(ahead) & set(right)
    assert all(early < late for early, late in pairwise(right))
    assert abs(created_at_ms(right[-1]) - SystemClock().now_us() // 1_000) < 60_000
    told = await admin.fetchrow(
        "SELECT issued_until_ms, extract(epoch FROM expires_at - clock_timestamp())::float8 AS rest"
        " FROM ledger.id_leases WHERE instance = $1",
        first,
    )
    # Given back, with how far it really came.
    assert told["issued_until_ms"] == created_at_ms(ahead[-1])
    assert told["rest"] <= SAFETY_S


async def test_an_hour_forth_is_told_before_ids_of_then_are_issued(
    process: Process, admin: asyncpg.Connection
) -> None:
    number = process.ids.instance
    await process.take()
    process.clock.shift_s = HOUR_S
    async with asyncio.timeout(SOON_S):
        (later,) = await process.take()
    assert process.ids.instance == number
    until_ms = await admin.fetchval(
        "SELECT issued_until_ms FROM ledger.id_leases WHERE instance = $1", number
    )
    assert SystemClock().now_us() // 1_000 + 3_500_000 < created_at_ms(later) <= until_ms


@pytest.mark.parametrize("ended", ["in order", "killed"])
async def test_a_restart_with_a_clock_an_hour_back_does_not_get_the_number_again(
    ended: str, database: OwnDatabase, admin: asyncpg.Connection, processes: list[Process]
) -> None:
    first = await Process(database.dsn("command")).start()
    number = first.ids.instance
    assert number is not None
    issued = await first.take(100)
    before = await admin.fetchrow("SELECT * FROM ledger.id_leases WHERE instance = $1", number)
    await first.stop()
    if ended == "killed":
        # Nobody gave it back: the row is as it was while the process lived.
        await admin.execute(
            "UPDATE ledger.id_leases SET issued_until_ms = $2 WHERE instance = $1",
            number,
            before["issued_until_ms"],
        )
    await only_number_left(admin, number)
    await expire(admin, number)
    back = Process(database.dsn("command"), -HOUR_S)
    with pytest.raises(PaycoreError) as refusal:
        await back.start()
    assert refusal.value.reason is Reason.OVERLOADED
    assert refusal.value.metadata == {"leased": "1023", "ahead": "1"}
    assert "clock" in refusal.value.message
    # By a clock that is past its ids it is taken again.
    processes.append(await Process(database.dsn("command"), HOUR_S).start())
    assert processes[-1].ids.instance == number
    assert not set(issued) & set(await processes[-1].take(100))


async def test_what_the_release_before_held_is_not_leased_by_a_clock_that_is_back(
    database: OwnDatabase, admin: asyncpg.Connection
) -> None:
    await only_number_left(admin, 77)
    # Its processes say nothing of how far their ids came.
    await admin.execute(
        "INSERT INTO ledger.id_leases (instance, holder, expires_at)"
        " VALUES (77, gen_random_uuid(), now() - interval '1 s')"
    )
    with pytest.raises(PaycoreError) as refusal:
        await Process(database.dsn("command"), -HOUR_S).start()
    assert refusal.value.metadata["ahead"] == "1"


async def test_when_no_number_is_left_for_its_clock_a_process_says_so_until_there_is(
    process: Process, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snowflake, "AGAIN_AFTER_S", 0.05)
    process.clock.shift_s = HOUR_S
    ahead = await process.take_soon(100)
    number = process.ids.instance
    assert number is not None
    await only_number_left(admin, number)
    process.clock.shift_s = 0
    with pytest.raises(PaycoreError) as refusal:
        await process.take()
    assert refusal.value.reason is Reason.DATABASE_UNAVAILABLE
    assert "clock" in refusal.value.message
    assert reason_why_none_are_left(process.ids) is not None
    # At once, and not after a wait each.
    with pytest.raises(PaycoreError):
        async with asyncio.timeout(0.2):
            await process.take()
    await expire(admin, number)
    process.clock.shift_s = HOUR_S + 60
    assert not set(ahead) & set(await process.take_soon(100))
    assert reason_why_none_are_left(process.ids) is None
    assert process.ids.instance == number


async def test_a_clock_from_before_there_were_ids_gets_none(database: OwnDatabase) -> None:
    early = Process(database.dsn("command"), -SystemClock().now_us() / 1e6 + 60)
    with pytest.raises(PaycoreError) as refusal:
        await early.start()
    assert "clock" in refusal.value.message


async def test_whatever_clocks_do_no_id_comes_twice(
    database: OwnDatabase,
    admin: asyncpg.Connection,
    processes: list[Process],
    rng: random.Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snowflake, "AGAIN_AFTER_S", 0.05)
    # Few numbers, so that each comes again, to whom its ids are behind.
    await admin.execute(
        "INSERT INTO ledger.id_leases SELECT number, gen_random_uuid(), now() + interval '1 day'"
        " FROM generate_series(12, 1023) AS number"
    )
    steps_s = (0.0, 0.5, WAITED_OUT_MS / 1_000 + 1, HOUR_S, 2 * HOUR_S)
    last: dict[int, int] = {}
    issued = refused = moves = 0
    furthest_s = 0.0
    for _ in range(3):
        processes.append(await Process(database.dsn("command")).start())
    for _ in range(120):
        place = rng.randrange(3)
        process = processes[place]
        if rng.random() < 0.2:
            await process.stop()
            # As if its rest were over: only how far its ids came keeps its number from others.
            await admin.execute(
                "UPDATE ledger.id_leases SET expires_at = to_timestamp(0) WHERE instance < 12"
                " AND expires_at < now() + interval '15 s'"
            )
            processes[place] = process = Process(database.dsn("command"), process.clock.shift_s)
            try:
                await process.start()
            except PaycoreError:
                # Nothing is left for that clock: whoever sees to it sets it right.
                process.clock.shift_s = furthest_s = furthest_s + 61
                refused += 1
                await process.start()
        process.clock.shift_s += rng.choice((-1, 1)) * rng.choice(steps_s)
        furthest_s = max(furthest_s, process.clock.shift_s)
        number = process.ids.instance
        try:
            ids = await process.take(rng.randint(1, 3))
        except PaycoreError as error:
            # Refusing is allowed, for this reason alone.
            assert error.reason is Reason.DATABASE_UNAVAILABLE  # noqa: PT017
            refused += 1
            continue
        moves += process.ids.instance != number
        assert all(early < late for early, late in pairwise(ids))
        # Whoever has a number, its ids rise: that is more than that none comes twice.
        instance = ids[-1] >> 12 & 1023
        assert ids[0] > last.get(instance, -1)
        last[instance] = ids[-1]
        issued += len(ids)
        until_ms = await admin.fetchval(
            "SELECT issued_until_ms FROM ledger.id_leases WHERE instance = $1",
            instance,
        )
        assert created_at_ms(ids[-1]) <= until_ms
    assert moves > 0
    assert issued > refused
