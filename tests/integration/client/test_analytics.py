"""What the client asks of AnalyticsService and how it reads the answers, to the last unit."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.client import (
    ActivityBucket,
    DeclineTotal,
    ExternalIdentifier,
    InstitutionFlow,
    InstitutionPosition,
    Interval,
    KindTotal,
    PaycoreClient,
    PostedTotal,
    TransferKind,
)
from paycore.client.analytics import Analytics
from paycore.client.blocking_analytics import BlockingAnalytics
from paycore.v1 import analytics_service_pb2 as pb
from paycore.v1 import freshness_pb2, transfer_pb2
from tests.integration.client.scripted import Script

FRESH = freshness_pb2.Freshness(source="elasticsearch", position="there")
START = datetime(2026, 11, 1, tzinfo=UTC)
END = START + timedelta(days=30)
HUGE = 2**70


def at(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


async def test_kinds(client: PaycoreClient, script: Script) -> None:
    total = pb.KindTotal(
        currency="EUR",
        kind=transfer_pb2.TRANSFER_KIND_FEE,
        count=3,
        total_minor_units=str(HUGE),
    )
    script.play(pb.KindBreakdownResponse(totals=[total], freshness=FRESH))
    found = await client.kind_breakdown(
        start=START, account=ExternalIdentifier("stripe", "cus_1"), currency="EUR"
    )
    assert found.totals == (KindTotal("EUR", TransferKind.FEE, 3, HUGE),)
    assert found.freshness.position == "there"
    [sent] = script.requests
    assert (sent.account_identifier.value, sent.currency) == ("cus_1", "EUR")
    assert (sent.start_time, sent.HasField("end_time")) == (at(START), False)


async def test_institutions(client: PaycoreClient, script: Script) -> None:
    flow = pb.InstitutionFlow(
        currency="EUR",
        from_institution="north",
        to_institution="south",
        count=2,
        total_minor_units=str(HUGE),
    )
    position = pb.InstitutionPosition(
        currency="EUR",
        institution="north",
        paid_minor_units=str(HUGE),
        received_minor_units="0",
        net_minor_units=str(-HUGE),
        within_minor_units="7",
    )
    script.play(
        pb.InstitutionPositionsResponse(flows=[flow], positions=[position], freshness=FRESH)
    )
    found = await client.institution_positions(end=END, min_position="seen")
    assert found.flows == (InstitutionFlow("EUR", "north", "south", 2, HUGE),)
    assert found.positions == (InstitutionPosition("EUR", "north", HUGE, 0, -HUGE, 7),)
    assert script.requests[0].min_position == "seen"


async def test_activity(client: PaycoreClient, script: Script) -> None:
    bucket = pb.ActivityBucket(
        start_time=at(START),
        credit_count=1,
        credit_minor_units=str(HUGE),
        debit_count=2,
        debit_minor_units="5",
        closing_balance_minor_units=-9,
    )
    script.play(
        pb.AccountActivityResponse(
            currency="JPY",
            opening_balance_minor_units=4,
            buckets=[bucket],
            total=bucket,
            freshness=FRESH,
        )
    )
    found = await client.account_activity(11, START, END, Interval.HOUR)
    assert found.buckets == (ActivityBucket(START, 1, HUGE, 2, 5, -9),)
    assert (found.currency, found.opening_balance, found.total) == ("JPY", 4, found.buckets[0])
    assert script.requests[0].interval == pb.VOLUME_INTERVAL_HOUR


async def test_declines_and_their_rate(client: PaycoreClient, script: Script) -> None:
    kind = transfer_pb2.TRANSFER_KIND_TRANSFER
    declines = [
        pb.DeclineTotal(
            currency="EUR", kind=kind, reason=reason, count=1, total_minor_units=str(HUGE)
        )
        for reason in ("ACCOUNT_FROZEN", "INSUFFICIENT_FUNDS")
    ]
    posted = pb.PostedTotal(
        currency="EUR", kind=kind, count=6, total_minor_units="8", start_time=at(START)
    )
    script.play(pb.DeclineStatisticsResponse(declines=declines, posted=[posted], freshness=FRESH))
    found = await client.decline_statistics(client="app")
    transfer = TransferKind.TRANSFER
    assert found.declines[0] == DeclineTotal(None, "EUR", transfer, "ACCOUNT_FROZEN", 1, HUGE)
    assert found.posted == (PostedTotal(START, "EUR", transfer, 6, 8),)
    assert found.rate("EUR", transfer) == 0.25
    assert found.rate("JPY", transfer) is None
    assert script.requests[0].interval == pb.VOLUME_INTERVAL_UNSPECIFIED


async def test_latency(client: PaycoreClient, script: Script) -> None:
    def ms(milliseconds: int) -> Duration:
        duration = Duration()
        duration.FromMilliseconds(milliseconds)
        return duration

    recent = pb.LatencySummary(
        count=9, p50=ms(1), p95=ms(2), p99=ms(3), max=ms(4), window=ms(300_000), end_time=at(END)
    )
    sinks = [
        pb.SinkLatency(sink="elasticsearch", position="there", lag=ms(5), recent=recent),
        pb.SinkLatency(sink="new"),
    ]
    script.play(pb.LatencyOfProjectionResponse(sinks=sinks, freshness=FRESH))
    measured, unknown = (await client.latency_of_projection()).sinks
    assert measured.lag == timedelta(milliseconds=5)
    assert measured.recent is not None
    assert measured.recent.p99 == timedelta(milliseconds=3)
    assert (measured.recent.count, measured.recent.end) == (9, END)
    assert (unknown.lag, unknown.recent) == (None, None)


def test_the_blocking_client_has_the_same_methods() -> None:
    for name, method in inspect.getmembers(Analytics, inspect.isfunction):
        twin = getattr(BlockingAnalytics, name)
        assert inspect.signature(twin) == inspect.signature(method), name
        assert not inspect.iscoroutinefunction(twin)
