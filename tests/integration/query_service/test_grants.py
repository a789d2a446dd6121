"""Grants are followed while the service runs, and count only while they are fresh."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

import database
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.refreshed import MAX_AGE_S
from query_service.grants import GrantsLoader
from tests.support.clocks import ManualClock
from tests.support.databases import OwnDatabase


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def loader(ledger_database: OwnDatabase, clock: ManualClock) -> AsyncIterator[GrantsLoader]:
    loader = GrantsLoader(ledger_database.dsn("query"), database.load("query"), clock)
    yield loader
    await loader.close()


def may_read(loader: GrantsLoader, client: str) -> bool:
    return loader.current().allows(client, "READ", opened_by="x", institution="nowhere")


async def test_a_grant_counts_after_the_next_load_and_so_does_its_end(
    loader: GrantsLoader, ledger_database: OwnDatabase
) -> None:
    owner = await asyncpg.connect(ledger_database.dsn("owner"))
    assert await loader.refresh()
    assert not may_read(loader, "newcomer")
    await owner.execute("INSERT INTO ledger.grants VALUES ('newcomer', 'READ', 'ALL', '')")
    await loader.refresh()
    assert may_read(loader, "newcomer")
    await owner.execute("DELETE FROM ledger.grants WHERE client = 'newcomer'")
    await loader.refresh()
    assert not may_read(loader, "newcomer")
    await owner.close()


async def test_old_grants_count_no_more(loader: GrantsLoader, clock: ManualClock) -> None:
    await loader.refresh()
    clock.at_s += MAX_AGE_S
    assert may_read(loader, "analyst")
    clock.at_s += 0.001
    with pytest.raises(PaycoreError) as caught:
        loader.current()
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    await loader.refresh()
    assert may_read(loader, "analyst")
