"""The calls of AnalyticsService as values. They go through many transfers, so they take longer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from paycore.client import model, replies, requests, rpcs, statistics
from paycore.client.calls import Call
from paycore.client.retries import Patience
from paycore.domain.transfers import TransferKind
from paycore.v1 import analytics_service_pb2 as pb


def transfer_volume(
    start: datetime,
    end: datetime,
    interval: model.Interval,
    currency: str,
    kinds: tuple[TransferKind, ...],
    min_position: str,
) -> Call[model.Volume]:
    return Call(
        rpcs.TRANSFER_VOLUME,
        requests.transfer_volume(start, end, interval, currency, kinds, min_position),
        replies.volume,
        Patience.BULK,
    )


def top_counterparties(
    account: model.AccountName,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    min_position: str,
) -> Call[model.Counterparties]:
    return Call(
        rpcs.TOP_COUNTERPARTIES,
        requests.top_counterparties(account, start, end, limit, min_position),
        replies.counterparties,
        Patience.BULK,
    )


def kind_breakdown(
    start: datetime | None,
    end: datetime | None,
    account: model.AccountName | None,
    currency: str,
    min_position: str,
) -> Call[statistics.KindBreakdown]:
    request = pb.KindBreakdownRequest(
        **requests.times(start, end),
        **requests.optional_account(account),
        currency=currency,
        min_position=min_position,
    )
    return Call(rpcs.KIND_BREAKDOWN, request, _kind_breakdown, Patience.BULK)


def institution_positions(
    start: datetime | None, end: datetime | None, currency: str, min_position: str
) -> Call[statistics.InstitutionPositions]:
    request = pb.InstitutionPositionsRequest(
        **requests.times(start, end), currency=currency, min_position=min_position
    )
    return Call(rpcs.INSTITUTION_POSITIONS, request, _institution_positions, Patience.BULK)


def account_activity(
    account: model.AccountName,
    start: datetime,
    end: datetime,
    interval: model.Interval,
    min_position: str,
) -> Call[statistics.AccountActivity]:
    request = pb.AccountActivityRequest(
        **requests.times(start, end),
        **requests.optional_account(account),
        interval=requests.interval_number(interval),
        min_position=min_position,
    )
    return Call(rpcs.ACCOUNT_ACTIVITY, request, _account_activity, Patience.BULK)


def decline_statistics(
    start: datetime | None,
    end: datetime | None,
    interval: model.Interval | None,
    account: model.AccountName | None,
    client: str,
    currency: str,
    min_position: str,
) -> Call[statistics.DeclineStatistics]:
    request = pb.DeclineStatisticsRequest(
        **requests.times(start, end),
        **requests.optional_account(account),
        interval=requests.interval_number(interval),
        client=client,
        currency=currency,
        min_position=min_position,
    )
    return Call(rpcs.DECLINE_STATISTICS, request, _decline_statistics, Patience.BULK)


def latency_of_projection(min_position: str) -> Call[statistics.ProjectionLatency]:
    return Call(
        rpcs.LATENCY_OF_PROJECTION,
        pb.LatencyOfProjectionRequest(min_position=min_position),
        _projection_latency,
    )


def _kind_breakdown(message: pb.KindBreakdownResponse) -> statistics.KindBreakdown:
    return statistics.KindBreakdown(
        tuple(
            statistics.KindTotal(
                total.currency,
                replies.transfer_kind(total.kind),
                total.count,
                int(total.total_minor_units),
            )
            for total in message.totals
        ),
        replies.freshness(message.freshness),
    )


def _institution_positions(
    message: pb.InstitutionPositionsResponse,
) -> statistics.InstitutionPositions:
    return statistics.InstitutionPositions(
        tuple(
            statistics.InstitutionFlow(
                flow.currency,
                flow.from_institution,
                flow.to_institution,
                flow.count,
                int(flow.total_minor_units),
            )
            for flow in message.flows
        ),
        tuple(
            statistics.InstitutionPosition(
                position.currency,
                position.institution,
                int(position.paid_minor_units),
                int(position.received_minor_units),
                int(position.net_minor_units),
                int(position.within_minor_units),
            )
            for position in message.positions
        ),
        replies.freshness(message.freshness),
    )


def _account_activity(message: pb.AccountActivityResponse) -> statistics.AccountActivity:
    return statistics.AccountActivity(
        message.currency,
        message.opening_balance_minor_units,
        tuple(map(_activity_bucket, message.buckets)),
        _activity_bucket(message.total),
        replies.freshness(message.freshness),
    )


def _activity_bucket(message: pb.ActivityBucket) -> statistics.ActivityBucket:
    return statistics.ActivityBucket(
        replies.instant(message.start_time),
        message.credit_count,
        int(message.credit_minor_units),
        message.debit_count,
        int(message.debit_minor_units),
        message.closing_balance_minor_units,
    )


def _decline_statistics(message: pb.DeclineStatisticsResponse) -> statistics.DeclineStatistics:
    return statistics.DeclineStatistics(
        tuple(
            statistics.DeclineTotal(
                _start(total),
                total.currency,
                replies.transfer_kind(total.kind),
                total.reason,
                total.count,
                int(total.total_minor_units),
            )
            for total in message.declines
        ),
        tuple(
            statistics.PostedTotal(
                _start(total),
                total.currency,
                replies.transfer_kind(total.kind),
                total.count,
                int(total.total_minor_units),
            )
            for total in message.posted
        ),
        replies.freshness(message.freshness),
    )


def _start(total: pb.DeclineTotal | pb.PostedTotal) -> datetime | None:
    return replies.instant(total.start_time) if total.HasField("start_time") else None


def _projection_latency(
    message: pb.LatencyOfProjectionResponse,
) -> statistics.ProjectionLatency:
    return statistics.ProjectionLatency(
        tuple(_sink_latencies(message.sinks)), replies.freshness(message.freshness)
    )


def _sink_latencies(messages: Iterable[pb.SinkLatency]) -> Iterable[statistics.SinkLatency]:
    for message in messages:
        recent = message.recent
        yield statistics.SinkLatency(
            message.sink,
            message.position,
            replies.span(message.lag) if message.HasField("lag") else None,
            statistics.LatencySummary(
                recent.count,
                replies.span(recent.p50),
                replies.span(recent.p95),
                replies.span(recent.p99),
                replies.span(recent.max),
                replies.span(recent.window),
                replies.instant(recent.end_time),
            )
            if message.HasField("recent")
            else None,
        )
