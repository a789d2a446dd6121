"""From totals to messages of AnalyticsService. Sums are decimal texts: they may exceed int64."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from paycore.v1 import analytics_service_pb2 as pb
from paycore.v1 import money_pb2
from query_service.institution_positions import InstitutionPosition
from query_service.readers.records import CounterpartyTotal, VolumeTotal
from query_service.readers.statistics import (
    Activity,
    ActivityBucket,
    DeclineTotal,
    InstitutionFlow,
    KindTotal,
    LatencySummary,
    PostedTotal,
    SinkLatency,
)
from query_service.servicers.messages import KINDS, timestamp


def volume_bucket(total: VolumeTotal) -> pb.VolumeBucket:
    """One interval, currency and kind."""
    return pb.VolumeBucket(
        start_time=timestamp(total.start_us),
        kind=KINDS[total.kind],
        count=total.transfers,
        total_minor_units=str(total.total),
        currency=total.currency,
    )


def counterparty(total: CounterpartyTotal, currency: str) -> pb.Counterparty:
    """One counterparty. Raises ValueError when a sum does not fit int64."""
    return pb.Counterparty(
        account_id=total.account,
        count=total.transfers,
        sent=money_pb2.Money(minor_units=total.sent, currency=currency),
        received=money_pb2.Money(minor_units=total.received, currency=currency),
    )


def kind_total(total: KindTotal) -> pb.KindTotal:
    """One currency and kind."""
    return pb.KindTotal(
        currency=total.currency,
        kind=KINDS[total.kind],
        count=total.transfers,
        total_minor_units=str(total.total),
    )


def flow(total: InstitutionFlow) -> pb.InstitutionFlow:
    """One pair of institutions and a currency."""
    return pb.InstitutionFlow(
        currency=total.currency,
        from_institution=total.payer,
        to_institution=total.payee,
        count=total.transfers,
        total_minor_units=str(total.total),
    )


def institution_position(position: InstitutionPosition) -> pb.InstitutionPosition:
    """One institution and currency."""
    return pb.InstitutionPosition(
        currency=position.currency,
        institution=position.institution,
        paid_minor_units=str(position.paid),
        received_minor_units=str(position.received),
        net_minor_units=str(position.net),
        within_minor_units=str(position.within),
    )


def activity_bucket(bucket: ActivityBucket) -> pb.ActivityBucket:
    """One interval."""
    return pb.ActivityBucket(
        start_time=timestamp(bucket.start_us),
        credit_count=bucket.credits,
        credit_minor_units=str(bucket.credited),
        debit_count=bucket.debits,
        debit_minor_units=str(bucket.debited),
        closing_balance_minor_units=bucket.closing,
    )


def activity_total(activity: Activity, start_us: int) -> pb.ActivityBucket:
    """All of the time from `start_us` on."""
    buckets = activity.buckets
    return activity_bucket(
        ActivityBucket(
            start_us,
            sum(bucket.credits for bucket in buckets),
            sum(bucket.credited for bucket in buckets),
            sum(bucket.debits for bucket in buckets),
            sum(bucket.debited for bucket in buckets),
            buckets[-1].closing if buckets else activity.opening,
        )
    )


def decline_total(total: DeclineTotal) -> pb.DeclineTotal:
    """One interval, currency, kind and reason."""
    return pb.DeclineTotal(
        start_time=None if total.start_us is None else timestamp(total.start_us),
        currency=total.currency,
        kind=KINDS[total.kind],
        reason=total.reason,
        count=total.declines,
        total_minor_units=str(total.total),
    )


def posted_total(total: PostedTotal) -> pb.PostedTotal:
    """One interval, currency and kind."""
    return pb.PostedTotal(
        start_time=None if total.start_us is None else timestamp(total.start_us),
        currency=total.currency,
        kind=KINDS[total.kind],
        count=total.transfers,
        total_minor_units=str(total.total),
    )


def sink_latency(latency: SinkLatency, now_us: int) -> pb.SinkLatency:
    """One sink, with the age of its position at `now_us`."""
    lag = None if latency.source_time_us is None else max(0, now_us - latency.source_time_us)
    return pb.SinkLatency(
        sink=latency.sink,
        position=latency.position.encode(),
        lag=None if lag is None else _duration(lag),
        recent=None if latency.recent is None else _summary(latency.recent),
    )


def _summary(summary: LatencySummary) -> pb.LatencySummary:
    return pb.LatencySummary(
        count=summary.transactions,
        p50=_duration(summary.p50_us),
        p95=_duration(summary.p95_us),
        p99=_duration(summary.p99_us),
        max=_duration(summary.max_us),
        window=_duration(summary.window_us),
        end_time=timestamp(summary.end_us),
    )


def _duration(microseconds: int) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(microseconds)
    return duration
