"""What retention has dropped from the index is answered by the ledger, never as if it were not."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import Reach
from paycore.domain.transfers import TransferId
from paycore.runtime.breaker import Breaker, BreakerState
from paycore.runtime.clock import SystemClock
from paycore.runtime.elastic import ElasticAddress, open_client
from projector.batch import DocumentKind
from projector.sinks.elastic_indices import Indices
from projector.sinks.elastic_layout import Layout
from query_service.personal import DetailsOpener
from query_service.positions import TRUSTED_FOR_S, IndexStaleError, PositionTracker
from query_service.readers.elastic.analytics import ElasticAnalytics
from query_service.readers.elastic.connection import Connection
from query_service.readers.elastic.reader import ElasticPositions, ElasticReader
from query_service.readers.elastic.search import ElasticSearcher
from query_service.readers.fallback import TRIPS_AFTER, FallbackReader
from query_service.readers.port import (
    CounterpartyFilter,
    HistoryDroppedError,
    ReadTerms,
    StatementFilter,
    TransferFilter,
    Viewer,
    VolumeFilter,
)
from query_service.readers.postgres.reader import PostgresReader
from query_service.readers.postgres.snapshots import Snapshots
from query_service.readers.search_port import SearchFilter
from query_service.readers.statistics import ActivityFilter, DeclineFilter, Stretch
from tests.integration.query_service.readers import oracle
from tests.integration.query_service.readers.conftest import World, projector_settings, terms
from tests.integration.query_service.readers.test_contract import (
    all_times,
    random_filter,
    walk,
    whole_statement,
)
from tests.support.clocks import ShiftedClock

MONTH = "2026.11"
DAY_US = 86_400_000_000


ALL = Viewer("analyst", Reach(all=True))


TOLD_ONCE_S = 86_400.0
"""How far behind the index may be: nobody tells of it anew."""


@dataclass
class Partial:
    """An index that begins at `from_us`, and a reader that has the ledger beside it."""

    client: AsyncElasticsearch
    index: ElasticReader
    searcher: ElasticSearcher
    analytics: ElasticAnalytics
    reader: FallbackReader
    positions: PositionTracker
    breaker: Breaker
    prefix: str
    from_us: int

    async def tell(self, from_us: int) -> None:
        """As the projector does."""
        await self.client.index(
            index=f"{self.prefix}-positions",
            id="elasticsearch",
            document={
                "epoch": 1,
                "xid": 1,
                "journal_id": 1,
                "refreshed_at_us": 1,
                "source_time_us": SystemClock().now_us(),
                "from_us": from_us,
            },
        )
        assert await self.positions.poll()


@pytest.fixture(scope="module")
async def partial(world: World) -> AsyncIterator[Partial]:
    """The world's index without the first half of its transfers."""
    await world.catch_up()
    rows = await world.admin.fetch(
        "SELECT created_at_us FROM ledger.transfers ORDER BY created_at_us, id"
    )
    from_us = rows[len(rows) // 2]["created_at_us"]
    prefix, clock = f"{world.database.name}-partial", SystemClock()
    client = open_client(
        ElasticAddress.of(projector_settings(world.database)), connections=4, request_timeout_s=30
    )
    indices = Indices(client, prefix)
    await indices.ensure_positions()
    await indices.make(Layout(prefix, 1), [MONTH], served=True)
    await copy(client, world.database.name, prefix, from_us)
    connection = Connection(client, clock)
    positions = PositionTracker(ElasticPositions(connection, prefix), clock, TOLD_ONCE_S)
    index = ElasticReader(connection, positions, prefix)
    breaker = Breaker("partial", trips_after=TRIPS_AFTER)
    reader = FallbackReader(index, world.readers["postgresql"], breaker, clock)
    searcher = ElasticSearcher(connection, positions, prefix)
    analytics = ElasticAnalytics(connection, positions, prefix)
    partial = Partial(
        client, index, searcher, analytics, reader, positions, breaker, prefix, from_us
    )
    await partial.tell(from_us)
    try:
        yield partial
    finally:
        for made in await client.indices.get(index=f"{prefix}-*"):
            await client.indices.delete(index=made)
        await client.close()


async def copy(client: AsyncElasticsearch, source: str, target: str, from_us: int) -> None:
    layout, lines = Layout(target, 1), list[dict[str, Any]]()
    for kind in DocumentKind:
        later: dict[str, Any] = {"match_all": {}}
        if kind is DocumentKind.TRANSFER:
            later = {"range": {"created_at_us": {"gte": from_us}}}
        found = await client.search(index=f"{source}-{kind.value}", query=later, size=10_000)
        name = layout.index(kind, MONTH if kind is DocumentKind.TRANSFER else "")
        for hit in found["hits"]["hits"]:
            lines += [{"index": {"_index": name, "_id": hit["_id"]}}, hit["_source"]]
    reply = await client.bulk(operations=lines, refresh=True)
    assert not reply["errors"], reply


async def test_lists_with_their_totals_are_whole(
    world: World, partial: Partial, rng: random.Random
) -> None:
    times = await all_times(world)
    for _ in range(40):
        wanted = random_filter(rng, world, times)
        expected = await oracle.listed(world.admin, wanted)
        found = await walk(partial.reader, wanted, rng.choice((1, 3, 50)))
        assert [record.id for record in found] == expected, wanted
        total = (await partial.reader.total(wanted, terms())).value
        assert total == (len(expected), False)


async def test_what_the_index_has_it_answers_itself(world: World, partial: Partial) -> None:
    sources = set()
    for account in world.accounts:
        since = TransferFilter(account=AccountId(account), start_us=partial.from_us)
        page = await partial.reader.transfers(since, None, 5, terms())
        sources.add(page.freshness.source)
        newest = await partial.reader.transfers(
            TransferFilter(account=AccountId(account)), None, 1, terms()
        )
        if newest.value and newest.value[0].created_at_us >= partial.from_us:
            sources.add(newest.freshness.source)
        before = TransferFilter(account=AccountId(account), end_us=partial.from_us)
        assert (
            await partial.reader.transfers(before, None, 5, terms())
        ).freshness.source == "postgresql"
    assert sources == {"elasticsearch"}
    assert partial.breaker.state is BreakerState.CLOSED


async def test_single_transfers_and_declines_are_found(world: World, partial: Partial) -> None:
    rows = await world.admin.fetch(
        "SELECT id, created_at_us FROM ledger.transfers UNION ALL"
        " SELECT id, created_at_us FROM ledger.declines"
    )
    for row in rows:
        answer = await partial.reader.transfer(TransferId(row["id"]), terms())
        assert answer.value is not None
        assert answer.value.created_at_us == row["created_at_us"]
        dropped = row["created_at_us"] < partial.from_us
        assert answer.freshness.source == ("postgresql" if dropped else "elasticsearch")


async def test_balances_and_statements_are_those_of_the_tables(
    world: World, partial: Partial
) -> None:
    for account in map(AccountId, world.accounts):
        entries = await oracle.entries(world.admin, account)
        for place, entry in enumerate(entries):
            for at_us, last in ((entry.created_at_us - 1, place - 1), (entry.created_at_us, place)):
                past = (await partial.reader.balance_at(account, at_us, terms())).value
                expected = (0, 0, 0)
                if last >= 0:
                    one = entries[last]
                    expected = (one.version, one.balance_after, one.held)
                assert tuple(past) == expected
        for start_us in (1, partial.from_us - 1, partial.from_us, partial.from_us + 1):
            wanted = StatementFilter(account, start_us, 2**60, include_holds=True)
            opening, found = await whole_statement(partial.reader, wanted, 3)
            inside = [one for one in entries if one.created_at_us >= start_us]
            assert [one.transfer for one in found] == [one.transfer for one in inside]
            if inside:
                earlier = entries[: len(entries) - len(inside)]
                assert opening == (earlier[-1].balance_after if earlier else 0)


async def test_an_account_opened_since_has_no_history_that_was_dropped(
    world: World, partial: Partial
) -> None:
    account = AccountId(world.accounts[0])
    await partial.tell(SystemClock().now_us() - 40 * DAY_US)
    try:
        for answer in (
            await partial.reader.transfers(TransferFilter(account), None, 500, terms()),
            await partial.reader.total(TransferFilter(account), terms()),
            await partial.reader.balance_at(account, 1, terms()),
            await partial.reader.transfer(TransferId(2**62), terms()),
        ):
            assert answer.freshness.source == "elasticsearch"
    finally:
        await partial.tell(partial.from_us)


async def test_searches_and_analytics_say_where_they_begin(world: World, partial: Partial) -> None:
    account, stretch = AccountId(world.accounts[0]), Stretch(None, None, None)
    analytics = partial.analytics
    for answer in (
        await partial.searcher.search(SearchFilter(), ALL, None, 10, terms(), with_total=True),
        await analytics.volume(VolumeFilter(0, 2**60, 2**31), ALL, terms()),
        await analytics.kinds(stretch, None, ALL, terms()),
        await analytics.flows(stretch, ALL, terms()),
        await analytics.counterparties(CounterpartyFilter(account, None, None, 10), terms()),
        await analytics.declines(DeclineFilter(stretch), ALL, terms()),
    ):
        assert answer.freshness.complete_from_us == partial.from_us
    whole = await partial.reader.transfers(TransferFilter(account), None, 500, terms())
    assert whole.freshness.complete_from_us == 0


async def test_activity_begins_with_the_balance_that_what_was_dropped_left(
    world: World, partial: Partial
) -> None:
    for account in map(AccountId, world.accounts):
        entries = await oracle.entries(world.admin, account)
        times = [one.created_at_us for one in entries if one.created_at_us > partial.from_us]
        for start_us in {partial.from_us, *times, *(time + 1 for time in times)}:
            wanted = ActivityFilter(account, start_us, 2**60, 2**31)
            activity = (await partial.analytics.activity(wanted, terms())).value
            before = [one for one in entries if one.created_at_us < start_us]
            assert activity.opening == (before[-1].balance_after if before else 0)
            for bucket in activity.buckets[-1:]:
                assert bucket.closing == entries[-1].balance_after
        with pytest.raises(PaycoreError) as caught:
            await partial.analytics.activity(
                ActivityFilter(account, partial.from_us - 1, 2**60, 2**31), terms()
            )
        assert caught.value.reason is Reason.INVALID_FIELD
        [violation] = caught.value.violations
        begins = datetime.fromisoformat(violation.description.split()[2].rstrip(","))
        since = begins - datetime(1970, 1, 1, tzinfo=UTC)
        assert since // timedelta(microseconds=1) == partial.from_us


async def test_from_when_on_the_index_has_all_is_not_guessed(
    world: World, partial: Partial
) -> None:
    clock = ShiftedClock()
    connection = Connection(partial.client, clock)
    positions = PositionTracker(ElasticPositions(connection, partial.prefix), clock, TOLD_ONCE_S)
    index = ElasticReader(connection, positions, partial.prefix)
    wanted = TransferFilter(AccountId(world.accounts[0]), start_us=partial.from_us)
    with pytest.raises(IndexStaleError):
        await index.transfers(wanted, None, 500, within(clock))
    assert await positions.poll()
    await index.transfers(wanted, None, 500, within(clock))
    clock.shift_s += TRUSTED_FOR_S + 1
    with pytest.raises(HistoryDroppedError):
        await index.transfers(wanted, None, 500, within(clock))


def within(clock: ShiftedClock) -> ReadTerms:
    return ReadTerms(clock.monotonic_s() + 30)


async def test_without_the_ledger_the_call_is_refused_rather_than_answered_in_part(
    world: World, partial: Partial
) -> None:
    clock = SystemClock()
    snapshots = Snapshots("postgresql://nobody@127.0.0.1:1/nothing", clock)
    ledger = PostgresReader(snapshots, DetailsOpener(world.keys), clock)
    away = FallbackReader(partial.index, ledger, partial.breaker, clock)
    wanted = TransferFilter(AccountId(world.accounts[0]), end_us=partial.from_us)
    with pytest.raises(PaycoreError) as caught:
        await away.transfers(wanted, None, 5, terms())
    await snapshots.close()
    assert caught.value.reason is Reason.INDEX_UNAVAILABLE
    assert caught.value.retry_after_ms is not None
