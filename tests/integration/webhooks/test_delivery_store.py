"""Whose turn it is, and what is removed, among deliveries that stand in the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection

import asyncpg
import pytest

from projector.webhooks.room import Shares, room_beside
from projector.webhooks.store import DeliveryStore, Leased
from tests.integration.projector.ledger import TestLedger
from tests.support.databases import OwnDatabase

FAILING = range(1, 21)
"""Of the client shop, each with deliveries that are due the longest."""
SHOP, BANK = 100, 200
"""Subscriptions of two clients that work."""
DUE = 5
"""Deliveries of each."""


@pytest.fixture
async def store(database: OwnDatabase, ledger: TestLedger) -> AsyncIterator[DeliveryStore]:
    for ids, client in (([*FAILING, SHOP], "shop"), ([BANK], "bank")):
        await ledger.execute(
            "INSERT INTO webhooks.subscriptions"
            " (id, created_at_us, from_journal_id, accounts, events, client, url, description)"
            " SELECT id, 1, 0, '{}', '{*}', $2, 'https://hook.example/', ''"
            " FROM unnest($1::bigint[]) AS id",
            ids,
            client,
        )
    # The later its id, the later it is due.
    await ledger.execute(
        "INSERT INTO webhooks.deliveries (subscription, journal_id, place, event, body, due_at_us)"
        " SELECT id, number, 0, 'transfer.posted', '{}', 1000 * id + number"
        " FROM webhooks.subscriptions, generate_series(1, $1) AS number",
        DUE,
    )
    connection = await asyncpg.connect(database.dsn("projector"))
    yield DeliveryStore(connection)
    await connection.close()


async def taken(
    store: DeliveryStore,
    shares: Shares,
    under_way: Collection[Leased] = (),
    failing: Collection[int] = FAILING,
) -> list[Leased]:
    return await store.lease(room_beside(under_way, failing, shares), 60.0)


def kinds(leased: Collection[Leased]) -> Counter[str]:
    return Counter("failing" if one.subscription in FAILING else one.client for one in leased)


async def test_what_fails_gets_no_more_than_half_of_its_clients_share(
    store: DeliveryStore,
) -> None:
    shares = Shares(at_once=8, client=4, each=3)
    first = await taken(store, shares)
    assert kinds(first) == {"failing": 1, "shop": 3, "bank": 3}
    # The shop has its share, and so has the one subscription of the bank.
    assert await taken(store, shares, first) == []
    rest = [one for one in first if one.client == "bank"]
    assert kinds(await taken(store, shares, rest)) == {"failing": 2, "shop": 2}


async def test_what_fails_comes_last_but_for_the_oldest(store: DeliveryStore) -> None:
    shares = Shares(at_once=4, client=4, each=4)
    first = await taken(store, shares)
    assert kinds(first) == {"failing": 1, "shop": 3}
    # One that fails is under way: now the others are first, though they are due later.
    fails = [one for one in first if one.subscription in FAILING]
    assert kinds(await taken(store, shares, fails)) == {"shop": 2, "bank": 1}


async def test_no_client_takes_it_all(store: DeliveryStore) -> None:
    """Not before it is known that its endpoints fail, either."""
    leased = await taken(store, Shares(at_once=8, client=6, each=4), failing=())
    assert Counter(one.client for one in leased) == {"shop": 6, "bank": 2}


async def test_only_what_nobody_waits_for_is_removed(
    store: DeliveryStore, ledger: TestLedger
) -> None:
    await ledger.execute("DELETE FROM webhooks.deliveries WHERE subscription = ANY ($1)", FAILING)
    await ledger.execute(
        "UPDATE webhooks.deliveries SET state = 'DEAD', due_at_us = NULL, ended_at_us = 1"
        " WHERE journal_id = 1"
    )
    await ledger.execute("UPDATE webhooks.subscriptions SET state = 'DISABLED' WHERE id = $1", SHOP)
    assert await store.prune(60.0, 100) == DUE + 1
    left = await ledger.rows("SELECT subscription, state FROM webhooks.deliveries")
    assert left == [{"subscription": BANK, "state": "PENDING"}] * (DUE - 1)
