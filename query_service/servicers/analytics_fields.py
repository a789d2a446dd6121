"""From requests for analytics to filters."""

from __future__ import annotations

from typing import Any

from paycore.runtime.account_names import ACCOUNT
from paycore.v1 import analytics_service_pb2 as pb
from query_service.readers.port import CounterpartyFilter, VolumeFilter
from query_service.readers.statistics import ActivityFilter, DeclineFilter, Stretch
from query_service.servicers.fields import Fields

MAX_INTERVALS = 2_000
MAX_CLIENT = 128
DEFAULT_COUNTERPARTIES = 10
MAX_COUNTERPARTIES = 100

_INTERVALS_S: dict[int, int] = {
    pb.VOLUME_INTERVAL_MINUTE: 60,
    pb.VOLUME_INTERVAL_HOUR: 3_600,
    pb.VOLUME_INTERVAL_DAY: 86_400,
}
_UNKNOWN_INTERVAL_S = 0


def volume_filter(request: pb.TransferVolumeRequest, fields: Fields) -> VolumeFilter:
    """What TransferVolume is asked for."""
    start_us, end_us, interval_s = _intervals(request, fields)
    return VolumeFilter(
        start_us=start_us,
        end_us=end_us,
        interval_s=interval_s,
        currency=fields.currency("currency", request.currency),
        kinds=fields.kinds("kinds", request.kinds),
    )


def counterparty_filter(request: pb.TopCounterpartiesRequest, fields: Fields) -> CounterpartyFilter:
    """What TopCounterparties is asked for."""
    start_us, end_us = _times(request, fields)
    return CounterpartyFilter(
        account=fields.account(request, ACCOUNT),
        start_us=start_us,
        end_us=end_us,
        limit=fields.at_most(
            "limit", request.limit, default=DEFAULT_COUNTERPARTIES, maximum=MAX_COUNTERPARTIES
        ),
    )


def stretch(
    request: pb.KindBreakdownRequest | pb.InstitutionPositionsRequest | pb.DeclineStatisticsRequest,
    fields: Fields,
) -> Stretch:
    """The time and the currency of a request that may leave all open."""
    start_us, end_us = _times(request, fields)
    return Stretch(start_us, end_us, fields.currency("currency", request.currency))


def activity_filter(request: pb.AccountActivityRequest, fields: Fields) -> ActivityFilter:
    """What AccountActivity is asked for."""
    start_us, end_us, interval_s = _intervals(request, fields)
    return ActivityFilter(fields.account(request, ACCOUNT), start_us, end_us, interval_s)


def decline_filter(request: pb.DeclineStatisticsRequest, fields: Fields) -> DeclineFilter:
    """What DeclineStatistics is asked for."""
    interval_s = None
    if request.interval == pb.VOLUME_INTERVAL_UNSPECIFIED:
        wanted = stretch(request, fields)
    else:
        start_us, end_us, interval_s = _intervals(request, fields)
        wanted = Stretch(start_us, end_us, fields.currency("currency", request.currency))
    return DeclineFilter(
        wanted,
        payer=fields.optional_account(request, ACCOUNT),
        client=fields.printable("client", request.client, MAX_CLIENT),
        interval_s=interval_s,
    )


def _intervals(request: Any, fields: Fields) -> tuple[int, int, int]:
    """Required times, and a width that divides them into at most MAX_INTERVALS."""
    for field in ("start_time", "end_time"):
        if not request.HasField(field):
            fields.refuse(field, "is required")
    start_us, end_us = _times(request, fields)
    interval_s = _INTERVALS_S.get(request.interval, _UNKNOWN_INTERVAL_S)
    if interval_s == _UNKNOWN_INTERVAL_S:
        fields.refuse("interval", "is not a width of interval")
    elif start_us is not None and end_us is not None:
        width_us = interval_s * 1_000_000
        # Intervals are aligned, so the first and the last may stick out of the time asked.
        if (end_us - 1) // width_us - start_us // width_us >= MAX_INTERVALS:
            fields.refuse(
                "end_time",
                f"at most {MAX_INTERVALS} intervals after start_time: ask for a shorter time or a"
                " wider interval",
            )
    return start_us or 0, end_us or 0, interval_s


def _times(request: Any, fields: Fields) -> tuple[int | None, int | None]:
    start_us, end_us = (
        fields.time_us(field, getattr(request, field), given=request.HasField(field))
        for field in ("start_time", "end_time")
    )
    fields.ordered_times(start_us, end_us)
    return start_us, end_us
