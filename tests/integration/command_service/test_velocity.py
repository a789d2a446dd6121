"""How many payees and identifiers a device may touch: exact however many ask at once."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

import database
from command_service.admission.touches import PostgresTouches
from command_service.admission.velocity import PAYEE, Bound, Velocity
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.limits import Limit, VelocityLimit
from paycore.domain.transfers import Details, TransferCommand, TransferKind
from paycore.runtime.database import open_pool
from paycore.runtime.limits.table import LimitTable, everywhere
from paycore.runtime.pools import PoolName
from tests.support.command_core import payment
from tests.support.databases import OwnDatabase
from tests.support.locks import until_blocked
from tests.support.postgres_proxy import PostgresProxy

LIMIT = VelocityLimit(window_s=3_600, payees=5, identifiers=2)
BOUND = Bound(PAYEE, LIMIT.payees, LIMIT.window_s)


@pytest.fixture
async def pools(database: OwnDatabase) -> AsyncIterator[list[asyncpg.Pool]]:
    """As of two processes."""
    pools = [
        await open_pool(
            database.dsn("command"), size=4, name=PoolName.READING, application="velocity"
        )
        for _ in range(2)
    ]
    yield pools
    for pool in pools:
        pool.terminate()


@pytest.fixture
def processes(pools: list[asyncpg.Pool]) -> list[Velocity]:
    return [velocity(pool) for pool in pools]


def velocity(pool: asyncpg.Pool, limit: VelocityLimit | None = LIMIT) -> Velocity:
    table = LimitTable().with_file(everywhere({Limit.VELOCITY: limit}))
    return Velocity(lambda: table, PostgresTouches(pool), bytes(32))


def paid(
    payee: int, device: str = "phone", kind: TransferKind = TransferKind.TRANSFER
) -> TransferCommand:
    return payment(AccountId(1), AccountId(payee), 1, details=Details(device_id=device), kind=kind)


async def is_let_through(one: Velocity, *commands: TransferCommand, client: str = "app") -> bool:
    try:
        await one.admit(client, commands)
    except PaycoreError as error:
        refusal = error
    else:
        return True
    assert refusal.reason is Reason.RATE_LIMITED
    assert refusal.metadata == {"limit": "velocity", "of": "PAYEE"}
    assert refusal.retry_after_ms is not None
    assert 0 < refusal.retry_after_ms <= LIMIT.window_s * 1_000
    return False


async def test_so_many_payees_and_no_more(processes: list[Velocity]) -> None:
    one, other = processes
    assert [await is_let_through(one, paid(payee)) for payee in range(10, 17)] == [True] * 5 + [
        False
    ] * 2
    # Those that are known go on, in any process; other devices and other clients are not concerned.
    assert await is_let_through(other, paid(10))
    assert not await is_let_through(other, paid(17))
    assert await is_let_through(other, paid(17, device="tablet"))
    assert await is_let_through(other, paid(17), client="loadtest")


async def test_parallel_payments_of_all_processes_cannot_slip_under_it(
    pools: list[asyncpg.Pool],
) -> None:
    # As many as there are connections: each asks at the same time as the others.
    several = [velocity(pool) for pool in pools for _ in range(4)]
    for device in range(10):
        asked = [
            (payee, is_let_through(one, paid(payee, f"phone-{device}")))
            for place, one in enumerate(several)
            for payee in range(10 + 3 * place, 13 + 3 * place)
        ]
        passed = await asyncio.gather(*(ask for _, ask in asked))
        assert sum(passed) == LIMIT.payees


async def test_what_stands_or_falls_together_is_counted_together(
    processes: list[Velocity],
) -> None:
    one, _ = processes
    assert await is_let_through(one, paid(10), paid(11), paid(10))
    assert not await is_let_through(one, *(paid(payee) for payee in range(10, 16)))
    # The group that was refused has used up nothing.
    assert await is_let_through(one, paid(12), paid(13), paid(14))
    assert not await is_let_through(one, paid(15))


async def test_each_of_many_independent_ones_is_decided_by_itself(
    processes: list[Velocity],
) -> None:
    one, other = processes
    mixed = [paid(payee, device) for payee in range(10, 18) for device in ("phone", "tablet")]
    mixed.append(payment(AccountId(1), AccountId(99), 1))
    refused = await one.exceeding("app", mixed, range(len(mixed)))
    assert set(refused) == set(range(10, 16))
    assert {error.reason for error in refused.values()} == {Reason.RATE_LIMITED}
    assert await other.exceeding("app", mixed[:10], range(10)) == {}


async def test_messages_with_the_same_devices_do_not_stop_each_other(
    processes: list[Velocity],
) -> None:
    devices = [secrets.token_hex(4) for _ in range(300)]
    forth = [paid(10, device) for device in devices]
    messages = [
        one.exceeding("app", some, range(len(some)))
        for _ in range(3)
        for one in processes
        for some in (forth, forth[::-1])
    ]
    async with asyncio.timeout(90):
        assert await asyncio.gather(*messages) == [{}] * 12


@pytest.mark.parametrize("kind", [TransferKind.WITHDRAWAL, TransferKind.HOLD])
async def test_whatever_a_payer_sets_in_motion_counts(
    processes: list[Velocity], kind: TransferKind
) -> None:
    one, _ = processes
    for payee in range(10, 15):
        assert await is_let_through(one, paid(payee, kind=kind))
    assert not await is_let_through(one, paid(15))
    # Money that comes in has no payee of the payer's choice.
    assert await is_let_through(one, paid(16, kind=TransferKind.DEPOSIT))


async def test_identifiers_have_a_number_of_their_own(processes: list[Velocity]) -> None:
    one, other = processes
    for payee in range(10, 15):
        assert await is_let_through(one, paid(payee))
    cards = [ExternalIdentifier("card", str(number)) for number in range(3)]
    await one.admit_identifier("app", "phone", cards[0])
    await other.admit_identifier("app", "phone", cards[1])
    with pytest.raises(PaycoreError) as refusal:
        await other.admit_identifier("app", "phone", cards[2])
    assert refusal.value.metadata == {"limit": "velocity", "of": "IDENTIFIER"}
    await other.admit_identifier("app", "phone", cards[0])
    await other.admit_identifier("app", "", cards[2])


async def test_there_is_room_again_when_the_wait_that_was_told_is_over(
    pools: list[asyncpg.Pool],
) -> None:
    one = velocity(pools[0], VelocityLimit(1, 2, 2))
    for payee in (10, 11):
        await one.admit("app", [paid(payee)])
    with pytest.raises(PaycoreError) as refusal:
        await one.admit("app", [paid(12)])
    assert refusal.value.retry_after_ms is not None
    assert 0 < refusal.value.retry_after_ms <= 1_000
    await asyncio.sleep(refusal.value.retry_after_ms / 1_000 + 0.01)
    await one.admit("app", [paid(12)])


async def test_without_the_database_nothing_passes(
    database: OwnDatabase, proxy: PostgresProxy
) -> None:
    pool = await open_pool(proxy.dsn, size=2, name=PoolName.READING, application="velocity")
    try:
        one = velocity(pool)
        await one.admit("app", [paid(10)])
        proxy.refusing = True
        await proxy.cut()
        for ask in (
            one.admit("app", [paid(10)]),
            one.exceeding("app", [paid(10)], [0]),
            one.admit_identifier("app", "phone", ExternalIdentifier("card", "1")),
        ):
            with pytest.raises(PaycoreError) as refusal:
                await ask
            assert refusal.value.reason is Reason.DATABASE_UNAVAILABLE
            assert refusal.value.retry_after_ms is not None
        # Who names no device does not need it.
        await one.admit("app", [payment(AccountId(1), AccountId(2), 1)])
    finally:
        pool.terminate()


async def test_without_a_limit_nothing_is_asked_or_kept(
    pools: list[asyncpg.Pool], admin: asyncpg.Connection
) -> None:
    one = velocity(pools[0], None)
    await one.admit("app", [paid(payee) for payee in range(10, 30)])
    assert await one.exceeding("app", [paid(10)], [0]) == {}
    assert await admin.fetchval("SELECT count(*) FROM ledger.device_touches") == 0


async def test_rows_tell_nothing_and_the_old_ones_go(
    processes: list[Velocity], pools: list[asyncpg.Pool], admin: asyncpg.Connection
) -> None:
    one, _ = processes
    for payee in (10, 11, 12):
        await one.admit("app", [paid(payee)])
    text = str(await admin.fetch("SELECT * FROM ledger.device_touches"))
    assert "phone" not in text
    await admin.execute(
        "UPDATE ledger.device_touches SET seen_us = 5 WHERE subject IN"
        " (SELECT subject FROM ledger.device_touches LIMIT 2)"
    )
    touches = PostgresTouches(pools[0])
    assert await touches.forget(5) == 0
    assert await touches.forget(6) == 2
    assert await touches.forget(6) == 0
    assert await admin.fetchval("SELECT count(*) FROM ledger.device_touches") == 1


async def test_a_device_that_is_being_counted_is_not_waited_for(
    processes: list[Velocity], pools: list[asyncpg.Pool], admin: asyncpg.Connection
) -> None:
    one, _ = processes
    await one.admit("app", [paid(10)])
    await admin.execute("UPDATE ledger.device_touches SET seen_us = 5")
    touches = PostgresTouches(pools[0])
    async with admin.transaction():
        await admin.execute(
            "SELECT pg_advisory_xact_lock(ledger.device_lock(device)) FROM ledger.device_touches"
        )
        assert await touches.forget(6) == 0
    assert await touches.forget(6) == 1


async def test_many_devices_at_once_are_counted_as_each_by_itself(
    pools: list[asyncpg.Pool],
) -> None:
    """Of the two kinds, one is touched by the statement for many, the other one by one."""
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    queries = database.load("velocity")
    devices = sorted(secrets.token_bytes(16) for _ in range(6))
    subjects = [secrets.token_bytes(16) for _ in range(5)]
    for _ in range(40):
        asked = sorted(chance.sample(devices, chance.randint(1, 6)))
        touched = [chance.choice(subjects) for _ in asked]
        bounds = {"most": chance.randint(1, 4), "window_s": 3_600}
        async with pools[0].acquire() as connection:
            at_once = await queries.touch_each(
                connection, devices=asked, kind="PAYEE", subjects=touched, **bounds
            )
            by_itself = [
                await queries.touch_together(
                    connection, device=device, kind="IDENTIFIER", subjects=[subject], **bounds
                )
                for device, subject in zip(asked, touched, strict=True)
            ]
        assert [wait_ms > 0 for wait_ms in at_once] == [wait_ms > 0 for wait_ms in by_itself], seed
        for wait_ms, other_ms in zip(at_once, by_itself, strict=True):
            # Within what the touches of the two kinds were apart.
            assert abs(wait_ms - other_ms) < 60_000, seed
            assert wait_ms <= 3_600_000, seed
    async with pools[0].acquire() as connection:
        rows = await connection.fetch("SELECT kind, device, subject FROM ledger.device_touches")
    of_kind = {
        kind: {(row["device"], row["subject"]) for row in rows if row["kind"] == kind}
        for kind in ("PAYEE", "IDENTIFIER")
    }
    assert of_kind["PAYEE"] == of_kind["IDENTIFIER"], seed
    assert of_kind["PAYEE"]


async def test_touches_of_one_device_in_one_statement_see_each_other(
    pools: list[asyncpg.Pool],
) -> None:
    touches = PostgresTouches(pools[0])
    device, other = sorted(secrets.token_bytes(16) for _ in range(2))
    payees = [secrets.token_bytes(16) for _ in range(3)]
    bound = BOUND._replace(most=2)
    pairs = [(device, payee) for payee in payees] + [(device, payees[0]), (other, payees[2])]
    waits_ms = await touches.touch_each(pairs, bound)
    assert [wait_ms > 0 for wait_ms in waits_ms] == [False, False, True, False, False]


async def test_another_process_s_touch_that_was_awaited_is_counted(
    pools: list[asyncpg.Pool],
) -> None:
    queries = database.load("velocity")
    device = secrets.token_bytes(16)

    async def touch(connection: asyncpg.Connection) -> list[int]:
        waits_ms: list[int] = await queries.touch_each(
            connection,
            devices=[device],
            kind="PAYEE",
            subjects=[secrets.token_bytes(16)],
            most=1,
            window_s=3_600,
        )
        return waits_ms

    async with pools[0].acquire() as one, pools[1].acquire() as other:
        holding = one.transaction()
        await holding.start()
        assert await touch(one) == [0]
        waiting = asyncio.create_task(touch(other))
        await until_blocked(one, other.get_server_pid(), waiting)
        await holding.commit()
        (wait_ms,) = await waiting
        assert wait_ms > 0
