"""Right requests that search, watch and add up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from paycore.v1 import analytics_service_pb2 as analytics
from paycore.v1 import history_service_pb2 as history
from tests.support.fuzzing.right.world import Right, World, books_of

DAY_S = 86_400


def _last_day(request: Any) -> Any:
    now_s = int(time.time())
    request.start_time.FromSeconds(now_s - DAY_S)
    request.end_time.FromSeconds(now_s)
    return request


async def get_statement(world: World, client: str) -> Any:
    account = world.rng.choice(books_of(world, client).accounts)
    return _last_day(
        history.GetStatementRequest(
            account_id=account,
            include_holds=world.rng.random() < 0.5,
            page_size=world.rng.randint(1, 50),
        )
    )


async def search_transfers(world: World, client: str) -> Any:
    request = history.SearchTransfersRequest(
        text=world.rng.choice(("", "rent", "invoice 4711")), page_size=world.rng.randint(1, 50)
    )
    if world.rng.random() < 0.5:
        request.account_id = world.rng.choice(books_of(world, client).accounts)
        request.include_declines = True
        request.include_total = True
    return request


async def watch_transfers(world: World, client: str) -> Any:
    account = world.rng.choice(books_of(world, client).accounts)
    return history.WatchTransfersRequest(
        account_id=account, include_declines=world.rng.random() < 0.5
    )


async def kind_breakdown(world: World, client: str) -> Any:
    return _last_day(analytics.KindBreakdownRequest(currency="EUR"))


async def institution_positions(world: World, client: str) -> Any:
    return _last_day(analytics.InstitutionPositionsRequest(currency="EUR"))


async def account_activity(world: World, client: str) -> Any:
    account = world.rng.choice(books_of(world, client).accounts)
    return _last_day(
        analytics.AccountActivityRequest(
            account_id=account, interval=analytics.VOLUME_INTERVAL_HOUR
        )
    )


async def decline_statistics(world: World, client: str) -> Any:
    return _last_day(
        analytics.DeclineStatisticsRequest(currency="EUR", interval=analytics.VOLUME_INTERVAL_HOUR)
    )


async def latency_of_projection(world: World, client: str) -> Any:
    return analytics.LatencyOfProjectionRequest()


ANALYSING: Mapping[str, Right] = {
    "HistoryService/GetStatement": Right(get_statement),
    "HistoryService/SearchTransfers": Right(search_transfers),
    "HistoryService/WatchTransfers": Right(watch_transfers),
    "AnalyticsService/KindBreakdown": Right(kind_breakdown),
    "AnalyticsService/InstitutionPositions": Right(institution_positions),
    "AnalyticsService/AccountActivity": Right(account_activity),
    "AnalyticsService/DeclineStatistics": Right(decline_statistics),
    "AnalyticsService/LatencyOfProjection": Right(latency_of_projection),
}
