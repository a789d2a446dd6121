"""What a watch gives is the ledger's own account of it, whoever writes meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from query_service.watching import watch as watching
from query_service.watching.port import DeclinePlace, Place
from query_service.watching.start import place_after
from query_service.watching.subscription import MOST_WAITING, BehindError
from tests.integration.projector.ledger import Payment, TestLedger, random_payments
from tests.integration.query_service.watching.conftest import (
    BEGINNING,
    WITHIN_S,
    Stage,
    steps_of,
    take,
    told,
)

WRITERS = 12


@asynccontextmanager
async def writers(
    ledger: TestLedger, accounts: list[int], rng: random.Random
) -> AsyncIterator[None]:
    """WRITERS post and decline at random between `accounts` while the block runs."""
    stop = asyncio.Event()

    async def write(chance: random.Random) -> None:
        while not stop.is_set():
            payments = random_payments(chance, accounts, chance.randint(1, 3))
            if chance.random() < 0.25:
                await ledger.decline(payments[0])
            else:
                # One at a time locks in one order; whoever stays open holds others up.
                await ledger.post(payments[:1], hold_s=chance.choice((0, 0, 0.01)))

    tasks = [asyncio.create_task(write(random.Random(rng.random()))) for _ in range(WRITERS)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_entries_come_by_version_though_the_journal_has_them_otherwise(stage: Stage) -> None:
    ledger = stage.ledger
    debit, credit = await ledger.open_pair()
    async with ledger.pool.acquire() as late, steps_of(stage.watch(credit)) as steps:
        assert (await anext(steps)).event is None
        # It has its transaction id first, and its version last.
        async with late.transaction():
            early_xid = await late.fetchval("SELECT pg_current_xact_id()")
            first = await ledger.post([Payment(debit, credit, 5)])
            second = await ledger._entry(late, Payment(debit, credit, 6))
            await ledger._journal(late, transfers=[second])
        xids = [position.xid for position, named in await stage.positions() if named]
        assert xids[0] == early_xid
        assert told(await take(steps, 2))[0] == [*first, second]


async def test_what_is_still_under_way_is_waited_for(stage: Stage) -> None:
    ledger = stage.ledger
    debit, credit = await ledger.open_pair()
    other, another = await ledger.open_pair()
    async with steps_of(stage.watch(credit)) as steps:
        await anext(steps)
        posting = asyncio.create_task(ledger.post([Payment(debit, credit, 5)], hold_s=0.5))
        await asyncio.sleep(0.1)
        await ledger.post([Payment(other, another, 1)])
        assert told(await take(steps, 1))[0] == await posting


async def test_watches_give_what_the_ledger_has_whenever_they_begin(
    stage: Stage, rng: random.Random
) -> None:
    accounts = await stage.ledger.open_accounts(4)
    target = accounts[0]
    begun = []
    async with writers(stage.ledger, accounts, rng):
        for _ in range(8):
            await asyncio.sleep(0.15)
            place = rng.choice((BEGINNING, await stage.now(target)))
            steps = stage.watch(target, place).steps()
            begun.append((place, steps, [await anext(steps) for _ in range(3)]))
    entries, declines = await stage.expected(target)
    for place, steps, found in begun:
        async with asyncio.timeout(WITHIN_S):
            # All has ended, so a sign of life says that all was sent.
            while found[-1].event is not None or found[-1].place.version < len(entries):
                found.append(await anext(steps))
        await steps.aclose()
        versions = [s.place.version for s in found if s.event and s.event.decline is None]
        assert versions == list(range(place.version + 1, len(entries) + 1))
        posted, declined = told(found)
        assert posted == entries[place.version :]
        assert declined == declines[len(declines) - len(declined) :]
        if place == BEGINNING:
            assert declined == declines


async def test_who_goes_on_from_any_step_gets_exactly_what_followed(
    stage: Stage, rng: random.Random
) -> None:
    accounts = await stage.ledger.open_accounts(3)
    target = accounts[0]
    found: list[watching.Step] = []
    place = BEGINNING
    async with writers(stage.ledger, accounts, rng):
        for _ in range(50):
            async with steps_of(stage.watch(target, place)) as steps:
                got = await take(steps, rng.randint(1, 6))
            found += got
            place = got[-1].place
    entries, declines = await stage.expected(target)
    async with steps_of(stage.watch(target, place)) as steps:
        missing = len(entries) + len(declines) - len(found)
        found += await take(steps, missing)
        # A sign of life, and nothing more.
        assert (await anext(steps)).event is None
    assert told(found) == (entries, declines)


async def test_long_histories_are_caught_up_page_by_page(stage: Stage) -> None:
    ledger = stage.ledger
    debit, credit = await ledger.open_pair()
    count = 2 * watching.PAGE + 7
    for _ in range(7):
        await ledger.post([Payment(debit, credit, 1)] * (count // 7))
    for _ in range(5):
        await ledger.decline(Payment(debit, credit, 1))
    entries, declines = await stage.expected(debit)
    async with steps_of(stage.watch(debit)) as steps:
        found = await take(steps, len(entries) + 5)
    assert told(found) == (entries, declines)
    assert found[-1].event is not None


async def test_declines_are_the_payers_and_only_where_asked_for(stage: Stage) -> None:
    ledger = stage.ledger
    debit, credit = await ledger.open_pair()
    async with (
        steps_of(stage.watch(debit, declines=False)) as without,
        steps_of(stage.watch(credit)) as payee,
        steps_of(stage.watch(debit)) as payer,
    ):
        for steps in (without, payee, payer):
            await anext(steps)
        declined = await ledger.decline(Payment(debit, credit, 1))
        (posted,) = await ledger.post([Payment(debit, credit, 1)])
        assert told(await take(without, 1)) == ([posted], [])
        assert told(await take(payee, 1)) == ([posted], [])
        assert told(await take(payer, 2)) == ([posted], [declined])


async def test_a_position_is_followed_by_what_the_journal_has_after_it(
    stage: Stage, rng: random.Random
) -> None:
    accounts = await stage.ledger.open_accounts(3)
    async with writers(stage.ledger, accounts, rng):
        await asyncio.sleep(1.0)
    journal = await stage.positions()
    for account in accounts:
        entries, _ = await stage.expected(account)
        version_of = {key: version for version, key in enumerate(entries, start=1)}
        versions = [[version_of[key] for key in named if key in version_of] for _, named in journal]
        for place, (position, _) in enumerate(journal):
            if rng.random() > 30 / len(journal):
                continue
            after = [version for row in versions[place + 1 :] for version in row]
            first = min(after, default=len(entries) + 1)
            found = await place_after(stage.watched, stage.clock, AccountId(account), position)
            assert found == Place(first - 1, DeclinePlace(position.xid, 2**63 - 1))


async def test_after_a_position_an_entry_may_come_that_stands_before_it(stage: Stage) -> None:
    ledger = stage.ledger
    debit, credit = await ledger.open_pair()
    async with ledger.pool.acquire() as late, late.transaction():
        await late.fetchval("SELECT pg_current_xact_id()")
        first = await ledger.post([Payment(debit, credit, 5)])
        second = await ledger._entry(late, Payment(debit, credit, 6))
        await ledger._journal(late, transfers=[second])
    (_, *positions) = await stage.positions()
    assert [named for _, named in positions] == [{second}, set(first)]
    for (position, _), version in zip(positions, (0, 2), strict=True):
        found = await place_after(stage.watched, stage.clock, AccountId(credit), position)
        assert found.version == version


async def test_before_the_first_position_is_the_beginning(stage: Stage) -> None:
    account, _ = await stage.ledger.open_pair()
    found = await place_after(stage.watched, stage.clock, AccountId(account), Position(1, 0, 0))
    assert found.version == 0


async def test_a_position_that_is_not_there_yet_is_waited_for_and_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, _ = await stage.ledger.open_pair()
    monkeypatch.setattr("query_service.watching.start.REACHED_WITHIN_S", 0.3)
    with pytest.raises(PaycoreError) as refused:
        await place_after(stage.watched, stage.clock, AccountId(account), Position(1, 2**40, 1))
    assert refused.value.reason is Reason.DATABASE_UNAVAILABLE
    with pytest.raises(PaycoreError) as refused:
        await place_after(stage.watched, stage.clock, AccountId(account), Position(2, 1, 1))
    assert refused.value.reason is Reason.HISTORY_REPLACED


async def test_who_does_not_take_is_behind_and_goes_on_from_its_place(stage: Stage) -> None:
    ledger = stage.ledger
    debit, credit = await ledger.open_pair()
    watch = stage.watch(credit)
    async with steps_of(watch) as steps:
        await anext(steps)
        for _ in range(3):
            await ledger.post([Payment(debit, credit, 1)] * (MOST_WAITING // 2))
        await stage_has_read(stage)
        with pytest.raises(BehindError):
            await take(steps, 3 * MOST_WAITING)
    entries, _ = await stage.expected(credit)
    async with steps_of(stage.watch(credit, watch.place)) as steps:
        found = await take(steps, len(entries) - watch.place.version)
    assert told(found)[0] == entries[watch.place.version :]


async def stage_has_read(stage: Stage) -> None:
    """Return once the tail has handed out all that the journal has."""
    xid = await stage.ledger.last_xid()
    async with asyncio.timeout(60):
        while (position := stage.tail.position) is None or position.xid < xid:
            await asyncio.sleep(0.01)


async def test_another_epoch_ends_every_watch(stage: Stage) -> None:
    debit, credit = await stage.ledger.open_pair()
    async with steps_of(stage.watch(debit)) as one, steps_of(stage.watch(credit)) as other:
        for steps in (one, other):
            await anext(steps)
        await stage.ledger.execute("UPDATE ledger.epoch SET epoch = 2")
        for steps in (one, other):
            with pytest.raises(PaycoreError) as ended:
                await anext(steps)
            assert ended.value.reason is Reason.HISTORY_REPLACED
            assert ended.value.metadata == {"epoch": "2"}
    async with steps_of(stage.watch(debit)) as steps:
        with pytest.raises(PaycoreError) as ended:
            await anext(steps)
        assert ended.value.reason is Reason.HISTORY_REPLACED
    async with steps_of(stage.watch(debit, epoch=2)) as steps:
        (posted,) = await stage.ledger.post([Payment(debit, credit, 1)])
        assert told(await take(steps, 1))[0] == [posted]


async def test_an_entry_that_the_journal_does_not_bring_is_read_from_the_ledger(
    stage: Stage,
) -> None:
    ledger = stage.ledger
    debit, credit = await ledger.open_pair()
    async with ledger.pool.acquire() as other, steps_of(stage.watch(credit)) as steps:
        await anext(steps)
        # A row that is missing, as none of the ledger's own ever is.
        async with other.transaction():
            unnamed = await ledger._entry(other, Payment(debit, credit, 1))
        (posted,) = await ledger.post([Payment(debit, credit, 1)])
        assert told(await take(steps, 2))[0] == [unnamed, posted]


async def test_the_tail_rests_while_nobody_watches(stage: Stage) -> None:
    debit, _ = await stage.ledger.open_pair()
    assert not rests_not(stage)
    async with steps_of(stage.watch(debit)) as steps:
        await anext(steps)
        assert rests_not(stage)
    async with asyncio.timeout(60):
        while rests_not(stage):
            await asyncio.sleep(0.01)
    assert stage.tail.age_s() == 0


def rests_not(stage: Stage) -> bool:
    return stage.tail.position is not None
