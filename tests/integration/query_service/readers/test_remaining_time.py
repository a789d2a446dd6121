"""A call that waits for a position uses its time, whichever source gets there first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from elasticsearch import AsyncElasticsearch

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.runtime.breaker import Breaker
from paycore.runtime.clock import SystemClock
from paycore.runtime.elastic import ElasticAddress, open_client
from projector.sinks.elastic_indices import Indices
from query_service.personal import DetailsOpener
from query_service.positions import PositionTracker
from query_service.readers.elastic.connection import Connection
from query_service.readers.elastic.reader import ElasticPositions, ElasticReader
from query_service.readers.fallback import LAST_RESORT_S, FallbackReader
from query_service.readers.port import StatementFilter
from query_service.readers.postgres.reader import PostgresReader
from query_service.readers.postgres.snapshots import Snapshots
from tests.integration.query_service.readers.conftest import World, projector_settings, terms
from tests.support.postgres_proxy import PostgresProxy
from tests.support.tcp_proxy import TcpProxy

WANTED = Position(7, 10, 1)
"""Of an epoch that the ledger is not in: only the index gets there."""

WITHIN_S = 8.0

TOLERANCE_S = LAST_RESORT_S / 2


@dataclass
class Pair:
    """Both sources behind proxies, and an index whose position the test tells."""

    reader: FallbackReader
    index: TcpProxy
    ledger: PostgresProxy
    account: AccountId
    direct: AsyncElasticsearch
    positions: str
    tracker: PositionTracker

    async def away(self) -> None:
        """The ledger answers nobody any more."""
        self.ledger.refusing = True
        await self.ledger.cut()

    async def tell(self, position: Position, behind_s: float = 0.0) -> None:
        await self.direct.index(
            index=self.positions,
            id="elasticsearch",
            document={
                "epoch": position.epoch,
                "xid": position.xid,
                "journal_id": position.journal_id,
                "refreshed_at_us": 1,
                "source_time_us": time.time_ns() // 1_000 - int(behind_s * 1e6),
                "from_us": 0,
            },
        )
        await self.tracker.poll()

    async def source(self) -> str:
        answer = await self.reader.account(self.account, terms(WANTED, WITHIN_S))
        assert answer.value is not None
        assert answer.freshness.position is not None
        assert answer.freshness.position >= WANTED
        return answer.freshness.source


@pytest.fixture
async def pair(world: World) -> AsyncIterator[Pair]:
    await world.catch_up()
    settings, clock = projector_settings(world.database), SystemClock()
    name = f"{world.database.name}-told"
    direct = open_client(ElasticAddress.of(settings), connections=2, request_timeout_s=30)
    await Indices(direct, name).ensure_positions()
    url = urlsplit(settings.elasticsearch_url)
    async with (
        TcpProxy(url.hostname or "", url.port or 0) as proxy,
        PostgresProxy(world.database.dsn("query")) as postgres,
    ):
        settings.elasticsearch_url = f"http://127.0.0.1:{proxy.port}"
        client = open_client(ElasticAddress.of(settings), connections=4, request_timeout_s=10)
        connection = Connection(client, clock)
        positions = PositionTracker(ElasticPositions(connection, name), clock, TOLERANCE_S)
        index = ElasticReader(connection, positions, world.database.name)
        snapshots = Snapshots(postgres.dsn, clock)
        ledger = PostgresReader(snapshots, DetailsOpener(world.keys), clock)
        reader = FallbackReader(index, ledger, Breaker("told", trips_after=5), clock)
        running = asyncio.create_task(positions.run())
        account = AccountId(world.accounts[0])
        pair = Pair(reader, proxy, postgres, account, direct, f"{name}-positions", positions)
        await pair.tell(Position(7, 9, 1))
        try:
            yield pair
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            postgres.delay_s = 0.0
            await snapshots.close()
            await client.close()
            await direct.indices.delete(index=f"{name}-positions")
            await direct.close()


async def test_an_index_that_was_silent_at_first_is_asked_again(pair: Pair) -> None:
    pair.index.delay_s = 30.0
    began = time.monotonic()
    asked = asyncio.create_task(pair.source())
    await asyncio.sleep(2.5)
    assert not asked.done()
    pair.index.delay_s = 0.0
    await pair.index.cut()
    await pair.tell(WANTED)
    assert await asked == "elasticsearch"
    assert time.monotonic() - began < WITHIN_S


async def test_a_ledger_that_hangs_does_not_keep_a_call_from_the_index(pair: Pair) -> None:
    # Connected before it hangs.
    with pytest.raises(PaycoreError):
        await pair.reader.account(pair.account, terms(WANTED, 1.0))
    pair.ledger.delay_s = 30.0
    asked = asyncio.create_task(pair.source())
    await asyncio.sleep(1)
    assert not asked.done()
    await pair.tell(WANTED)
    assert await asked == "elasticsearch"


async def test_what_neither_reaches_is_refused_shortly_before_the_deadline(pair: Pair) -> None:
    began = time.monotonic()
    with pytest.raises(PaycoreError) as caught:
        await pair.reader.account(pair.account, terms(WANTED, 3.0))
    assert caught.value.reason is Reason.INDEX_BEHIND
    assert 2.0 < time.monotonic() - began < 3.0


async def test_where_neither_answers_no_call_lingers(pair: Pair) -> None:
    for proxy in (pair.index, pair.ledger):
        proxy.refusing = True
        await proxy.cut()
    began = time.monotonic()
    with pytest.raises(PaycoreError) as caught:
        await pair.reader.account(pair.account, terms(WANTED, 20.0))
    assert caught.value.reason is Reason.INDEX_UNAVAILABLE
    assert time.monotonic() - began < 10


LATELY_S = TOLERANCE_S + 5
"""So far behind is too far while the ledger answers, and not while it is away."""


async def test_an_index_too_far_behind_leaves_the_answer_to_the_ledger(pair: Pair) -> None:
    await pair.tell(Position(7, 9, 1), behind_s=LATELY_S)
    answer = await pair.reader.account(pair.account, terms(within_s=WITHIN_S))
    assert answer.freshness.source == "postgresql"
    await pair.tell(Position(7, 9, 1))
    answer = await pair.reader.account(pair.account, terms(within_s=WITHIN_S))
    assert answer.freshness.source == "elasticsearch"


@pytest.mark.parametrize("hanging", [False, True])
async def test_without_the_ledger_an_index_that_was_current_lately_answers_and_says_so(
    pair: Pair, hanging: bool
) -> None:
    await pair.tell(Position(7, 9, 1), behind_s=LATELY_S)
    if hanging:
        await pair.reader.account(pair.account, terms(within_s=WITHIN_S))
        pair.ledger.delay_s = 30.0
    else:
        await pair.away()
    answer = await pair.reader.account(pair.account, terms(within_s=WITHIN_S))
    assert answer.value is not None
    assert answer.freshness.source == "elasticsearch"
    assert answer.freshness.lag_us is not None
    assert answer.freshness.lag_us >= LATELY_S * 1e6


async def test_without_the_ledger_an_index_far_behind_answers_nothing(pair: Pair) -> None:
    await pair.tell(Position(7, 9, 1), behind_s=LAST_RESORT_S + 1)
    await pair.away()
    with pytest.raises(PaycoreError) as caught:
        await pair.reader.account(pair.account, terms(within_s=WITHIN_S))
    assert caught.value.reason is Reason.INDEX_BEHIND
    assert caught.value.retry_after_ms


async def test_without_the_ledger_a_statement_ends_where_the_index_does(pair: Pair) -> None:
    now_us = SystemClock().now_us()
    await pair.tell(Position(7, 9, 1), behind_s=LATELY_S)
    await pair.away()

    def asked(ago_s: float) -> StatementFilter:
        return StatementFilter(pair.account, 1, now_us - int(ago_s * 1e6))

    answer = await pair.reader.statement(asked(LAST_RESORT_S), None, 10, terms(within_s=WITHIN_S))
    assert answer.freshness.source == "elasticsearch"
    await pair.reader.balance_at(
        pair.account, asked(LAST_RESORT_S).end_us, terms(within_s=WITHIN_S)
    )
    with pytest.raises(PaycoreError) as caught:
        await pair.reader.statement(asked(1), None, 10, terms(within_s=WITHIN_S))
    assert caught.value.reason is Reason.INDEX_BEHIND
    with pytest.raises(PaycoreError) as caught:
        await pair.reader.balance_at(pair.account, asked(1).end_us, terms(within_s=WITHIN_S))
    assert caught.value.reason is Reason.INDEX_BEHIND
