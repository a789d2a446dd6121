"""Waiting for the index is bounded and shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from elasticsearch import AsyncElasticsearch

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.runtime.clock import SystemClock
from query_service.positions import MAX_WAITING, PositionTracker
from query_service.readers.elastic.connection import Connection
from query_service.readers.elastic.reader import ElasticPositions
from query_service.settings import QuerySettings
from tests.integration.query_service.conftest import PREFIX, Index

UNREACHED = Position(2**31, 1, 1)


@pytest.fixture
async def tracker(index: Index) -> AsyncIterator[PositionTracker]:
    clock = SystemClock()
    tracker = PositionTracker(ElasticPositions(Connection(index.client, clock), PREFIX), clock)
    running = asyncio.create_task(tracker.run())
    yield tracker
    running.cancel()


async def position_reads(client: AsyncElasticsearch) -> int:
    stats = await client.indices.stats(index=f"{PREFIX}-positions", metric="get")
    total: int = stats["_all"]["total"]["get"]["total"]
    return total


async def test_many_waiting_calls_share_one_reader(
    tracker: PositionTracker, index: Index, settings: QuerySettings
) -> None:
    deadline_s = SystemClock().monotonic_s() + 0.6
    before = await position_reads(index.client)
    waits = [tracker.reach(UNREACHED, deadline_s) for _ in range(MAX_WAITING)]
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, PaycoreError)}
    assert reasons == {Reason.INDEX_BEHIND}
    assert tracker.waiting == 0
    # Half a second at 10 ms, and the session's own service now and then.
    assert await position_reads(index.client) - before < 80


async def test_one_call_too_many_is_told_so_at_once(tracker: PositionTracker) -> None:
    deadline_s = SystemClock().monotonic_s() + 0.6
    waits = [asyncio.create_task(tracker.reach(UNREACHED, deadline_s)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    assert tracker.waiting == MAX_WAITING
    with pytest.raises(PaycoreError) as caught:
        await tracker.reach(UNREACHED, deadline_s)
    assert caught.value.reason is Reason.OVERLOADED
    await asyncio.gather(*waits, return_exceptions=True)


async def test_a_call_that_is_cancelled_waits_no_more(tracker: PositionTracker) -> None:
    wait = asyncio.create_task(tracker.reach(UNREACHED, SystemClock().monotonic_s() + 60))
    await asyncio.sleep(0.05)
    assert tracker.waiting == 1
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)
    assert tracker.waiting == 0
