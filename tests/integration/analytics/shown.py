"""Replies of AnalyticsService in the oracle's terms."""

from __future__ import annotations

from typing import Any

from paycore.v1 import analytics_service_pb2 as pb
from paycore.v1.transfer_pb2 import TransferKind
from tests.integration.analytics.oracle import Activity, Time, Totals
from tests.integration.query_service.calls import at, us

DAY_US = 86_400_000_000
INTERVALS_US = {
    pb.VOLUME_INTERVAL_MINUTE: 60_000_000,
    pb.VOLUME_INTERVAL_HOUR: 3_600_000_000,
    pb.VOLUME_INTERVAL_DAY: DAY_US,
}


def times(time: Time) -> dict[str, Any]:
    """The fields of a request."""
    found = {"start_time": time.start_us, "end_time": time.end_us}
    return {name: at(value) for name, value in found.items() if value is not None}


def kind(number: int) -> str:
    return TransferKind.Name(number).removeprefix("TRANSFER_KIND_")  # type: ignore[arg-type]


def volume(reply: pb.TransferVolumeResponse) -> Totals:
    return [
        (us(one.start_time), one.currency, kind(one.kind), one.count, int(one.total_minor_units))
        for one in reply.buckets
    ]


def kinds(reply: pb.KindBreakdownResponse) -> Totals:
    return [
        (one.currency, kind(one.kind), one.count, int(one.total_minor_units))
        for one in reply.totals
    ]


def flows(reply: pb.InstitutionPositionsResponse) -> Totals:
    return [
        (
            one.currency,
            one.from_institution,
            one.to_institution,
            one.count,
            int(one.total_minor_units),
        )
        for one in reply.flows
    ]


def positions(
    reply: pb.InstitutionPositionsResponse,
) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    return {
        (one.currency, one.institution): (
            int(one.paid_minor_units),
            int(one.received_minor_units),
            int(one.net_minor_units),
            int(one.within_minor_units),
        )
        for one in reply.positions
    }


def activity(reply: pb.AccountActivityResponse) -> Activity:
    def bucket(one: pb.ActivityBucket) -> tuple[int, int, int, int, int, int]:
        return (
            us(one.start_time),
            one.credit_count,
            int(one.credit_minor_units),
            one.debit_count,
            int(one.debit_minor_units),
            one.closing_balance_minor_units,
        )

    return Activity(
        reply.opening_balance_minor_units,
        [bucket(one) for one in reply.buckets],
        reply.total.closing_balance_minor_units,
    )


def declines(reply: pb.DeclineStatisticsResponse) -> tuple[Totals, Totals]:
    return (
        [
            (
                us(one.start_time),
                one.currency,
                kind(one.kind),
                one.reason,
                one.count,
                int(one.total_minor_units),
            )
            for one in reply.declines
        ],
        [
            (
                us(one.start_time),
                one.currency,
                kind(one.kind),
                one.count,
                int(one.total_minor_units),
            )
            for one in reply.posted
        ],
    )
