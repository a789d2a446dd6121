"""The index and the ledger give the same answers, field by field, and one goes on for the other."""

from __future__ import annotations

import asyncio
import random

from paycore.domain.accounts import AccountId
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import TransferId
from query_service.readers.port import PageKey, StatementFilter, TransferFilter
from query_service.readers.records import TransferRecord
from tests.integration.query_service.readers import oracle
from tests.integration.query_service.readers.conftest import SOURCES, World, terms
from tests.integration.query_service.readers.test_contract import (
    FILTERS,
    all_times,
    moments,
    random_filter,
    walk,
    whole_statement,
)


async def test_every_record_is_the_same_in_each_field(world: World) -> None:
    seen: set[Unreadable | None] = set()
    index, ledger = (world.readers[source] for source in SOURCES)
    for account in world.accounts:
        wanted = TransferFilter(account=AccountId(account), include_declines=True)
        first, second = await walk(index, wanted, 100), await walk(ledger, wanted, 100)
        for one, other in zip(first, second, strict=True):
            assert one._asdict() == other._asdict()
            alone = (await ledger.transfer(TransferId(one.id), terms())).value
            assert alone == one == (await index.transfer(TransferId(one.id), terms())).value
            seen.add(one.unreadable)
        assert (await index.account(wanted.account, terms())).value == (
            await ledger.account(wanted.account, terms())
        ).value
    assert seen == {None, Unreadable.ERASED}


async def test_lists_are_the_same_for_any_filter(world: World, rng: random.Random) -> None:
    times = await all_times(world)
    index, ledger = (world.readers[source] for source in SOURCES)
    for _ in range(FILTERS):
        wanted = random_filter(rng, world, times)
        size = rng.choice((2, 3, 11))
        assert await walk(index, wanted, size) == await walk(ledger, wanted, size), wanted


async def test_statements_are_the_same(world: World, rng: random.Random) -> None:
    index, ledger = (world.readers[source] for source in SOURCES)
    for account in world.accounts:
        times = moments(await oracle.entries(world.admin, account))
        start_us, end_us = sorted((rng.choice(times), rng.choice(times) + 1))
        for with_holds in (False, True):
            wanted = StatementFilter(AccountId(account), start_us, end_us, with_holds)
            assert await whole_statement(index, wanted, 3) == await whole_statement(
                ledger, wanted, 4
            )


async def test_a_walk_over_both_sources_misses_and_doubles_nothing_under_inserts(
    world: World, rng: random.Random
) -> None:
    """Each page from either; what stood at page one's position is there once, in order."""
    for account in rng.sample(world.accounts, 4):
        await world.catch_up()
        wanted = TransferFilter(account=AccountId(account), include_declines=True)
        before = await oracle.listed(world.admin, wanted)
        found: list[TransferRecord] = []
        after: PageKey | None = None
        inserting = asyncio.create_task(world.program.run(12, 3))
        while True:
            reader = world.readers[rng.choice(SOURCES)]
            page = (await reader.transfers(wanted, after, 3, terms())).value
            found += page
            if len(page) < 3:
                break
            after = PageKey(page[-1].created_at_us, page[-1].id)
            await asyncio.sleep(0.02)
        await inserting
        ids = [record.id for record in found]
        assert len(set(ids)) == len(ids)
        assert [one for one in ids if one in set(before)] == before
        keys = [(record.created_at_us, record.id) for record in found]
        assert keys == sorted(keys, reverse=True)
