"""Ids: unique and rising, under a lease that is certain, or none at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import asyncpg
import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime import snowflake
from paycore.runtime.clock import Clock, SystemClock
from paycore.runtime.snowflake import LEASE_S, SAFETY_S, IdSource, created_at_ms
from tests.support.clocks import ShiftedClock
from tests.support.databases import OwnDatabase

ONE_MILLISECOND = 4_096
"""Ids that the generator has for one millisecond."""


@pytest.fixture
def dsn(database: OwnDatabase) -> str:
    return database.dsn("command")


@pytest.fixture
async def admin(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


async def started(dsn: str, clock: Clock | None = None) -> IdSource:
    ids = IdSource(dsn, clock or SystemClock(), "ids")
    await ids.start()
    return ids


async def test_more_than_a_millisecond_holds_are_waited_for(dsn: str) -> None:
    ids = await started(dsn)
    taken = await ids.take(3 * ONE_MILLISECOND)
    assert len(taken) == 3 * ONE_MILLISECOND
    assert all(early < late for early, late in pairwise(taken))
    assert abs(created_at_ms(taken[-1]) - SystemClock().now_us() // 1_000) < 10_000
    await ids.stop()


async def test_sources_never_share_a_number_nor_an_id(dsn: str) -> None:
    sources = await asyncio.gather(*(started(dsn) for _ in range(5)))
    assert len({source.instance for source in sources}) == 5
    taken = await asyncio.gather(*(source.take(2_000) for source in sources for _ in range(3)))
    everything = [one for ids in taken for one in ids]
    assert len(set(everything)) == len(everything)
    for source in sources:
        await source.stop()


async def test_a_small_step_back_of_the_clock_is_waited_out(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await started(dsn)
    (before,) = await ids.take(1)
    clock = ShiftedClock()
    monkeypatch.setattr("snowflake.snowflake.time", lambda: clock.now_us() / 1_000_000)
    clock.shift_s = -0.3
    (after,) = await ids.take(1)
    assert after > before
    await ids.stop()


async def test_a_large_step_back_is_refused_and_gives_no_id(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each look at the clock costs 0.1 s, so that the bound comes soon.
    ids = await started(dsn, ShiftedClock(per_look_s=0.1))
    await ids.take(1)
    late = ShiftedClock()
    late.shift_s = -3_600
    monkeypatch.setattr("snowflake.snowflake.time", lambda: late.now_us() / 1_000_000)
    with pytest.raises(PaycoreError) as refusal:
        await ids.take(1)
    assert refusal.value.reason is Reason.DATABASE_UNAVAILABLE
    assert "clock" in refusal.value.message
    late.shift_s = 0
    assert await ids.take(1)
    await ids.stop()


async def test_a_lease_that_was_not_renewed_in_time_issues_nothing(dsn: str) -> None:
    clock = ShiftedClock()
    ids = await started(dsn, clock)
    clock.shift_s = LEASE_S - SAFETY_S - 1
    assert await ids.take(1)
    # Earlier than the lease ends for others, who may take the number then.
    clock.shift_s = LEASE_S - SAFETY_S
    with pytest.raises(PaycoreError) as refusal:
        await ids.take(1)
    assert refusal.value.reason is Reason.DATABASE_UNAVAILABLE
    await ids.stop()


async def test_a_number_that_another_took_is_left_to_it(
    dsn: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snowflake, "RENEW_EVERY_S", 0.05)
    ids = await started(dsn)
    lost = ids.instance
    await admin.execute(
        "UPDATE ledger.id_leases SET holder = gen_random_uuid() WHERE instance = $1", lost
    )
    async with asyncio.timeout(10):
        while ids.instance in (lost, None):
            await asyncio.sleep(0.02)
    (one,) = await ids.take(1)
    assert one >> 12 & 1023 == ids.instance != lost
    await ids.stop()


async def test_a_renewed_lease_goes_on(
    dsn: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snowflake, "RENEW_EVERY_S", 0.02)
    ids = await started(dsn)
    number = ids.instance
    first = await admin.fetchval("SELECT max(expires_at) FROM ledger.id_leases")
    async with asyncio.timeout(10):
        while await admin.fetchval("SELECT max(expires_at) FROM ledger.id_leases") == first:
            await asyncio.sleep(0.02)
    assert ids.instance == number
    await ids.stop()


async def test_a_number_of_no_use_gives_no_ids_and_the_next_one_does(
    dsn: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snowflake, "RENEW_EVERY_S", 0.02)
    ids = await started(dsn)
    await admin.execute(
        """
        ALTER TABLE ledger.id_leases DROP CONSTRAINT id_leases_instance_check;
        CREATE SEQUENCE ledger.wrong MINVALUE 5000;
        GRANT USAGE ON SEQUENCE ledger.wrong TO PUBLIC;
        CREATE FUNCTION ledger.wrong() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN NEW.instance := nextval('ledger.wrong'); RETURN NEW; END $$;
        CREATE TRIGGER wrong BEFORE INSERT ON ledger.id_leases
          FOR EACH ROW EXECUTE FUNCTION ledger.wrong();
        UPDATE ledger.id_leases SET holder = gen_random_uuid();
        """
    )
    async with asyncio.timeout(10):
        while await admin.fetchval("SELECT count(*) FROM ledger.id_leases") < 4:
            await asyncio.sleep(0.02)
    with pytest.raises(PaycoreError) as refusal:
        await ids.take(1)
    assert refusal.value.reason is Reason.DATABASE_UNAVAILABLE
    await admin.execute("DROP TRIGGER wrong ON ledger.id_leases")
    async with asyncio.timeout(10):
        while ids.instance is None:
            await asyncio.sleep(0.02)
    assert await ids.take(1)
    await ids.stop()


async def test_when_all_numbers_are_leased_a_process_does_not_start(
    dsn: str, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "INSERT INTO ledger.id_leases SELECT number, gen_random_uuid(), now() + interval '1 hour'"
        " FROM generate_series(0, 1023) AS number"
    )
    with pytest.raises(PaycoreError) as refusal:
        await started(dsn)
    assert refusal.value.reason is Reason.OVERLOADED
    await admin.execute(
        "UPDATE ledger.id_leases SET expires_at = now() - interval '1 s' WHERE instance = 77"
    )
    ids = await started(dsn)
    assert ids.instance == 77
    await ids.stop()


async def test_a_number_given_back_rests_before_it_is_used_again(
    dsn: str, admin: asyncpg.Connection
) -> None:
    ids = await started(dsn)
    number = ids.instance
    await ids.stop()
    rests_s = await admin.fetchval(
        "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8"
        " FROM ledger.id_leases WHERE instance = $1",
        number,
    )
    assert 0 < rests_s <= SAFETY_S
    with pytest.raises(PaycoreError):
        await ids.take(1)
