"""AnalyticsService: how much."""

from __future__ import annotations

from paycore.domain.errors import invalid_field
from paycore.domain.money import MAX_MINOR
from paycore.runtime.account_names import ACCOUNT
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import analytics_service_pb2 as pb
from query_service.access import Access
from query_service.readers.port import (
    AnalyticsReader,
    CounterpartyFilter,
    ReadTerms,
    VolumeFilter,
)
from query_service.readers.records import CounterpartyTotal
from query_service.servicers import messages
from query_service.servicers.fields import Fields
from query_service.servicers.names import name_accounts

MAX_INTERVALS = 2_000
DEFAULT_COUNTERPARTIES = 10
MAX_COUNTERPARTIES = 100

_INTERVALS_S: dict[int, int] = {
    pb.VOLUME_INTERVAL_MINUTE: 60,
    pb.VOLUME_INTERVAL_HOUR: 3_600,
    pb.VOLUME_INTERVAL_DAY: 86_400,
}
_UNKNOWN_INTERVAL_S = 0


class AnalyticsServicer:
    """Answers from `reader` over what `access` lets the calling client see."""

    def __init__(self, reader: AnalyticsReader, access: Access, identifiers: Identifiers) -> None:
        self._reader = reader
        self._access = access
        self._identifiers = identifiers

    async def TransferVolume(  # noqa: N802 - named as in the contract
        self, request: pb.TransferVolumeRequest, call: Call
    ) -> pb.TransferVolumeResponse:
        """Count and sum per interval, currency and kind of what the client may see."""
        fields = Fields()
        wanted = _volume_filter(request, fields)
        terms = ReadTerms(call.deadline_s, fields.position("min_position", request.min_position))
        fields.check()
        answer = await self._reader.volume(wanted, self._access.viewer(call.client), terms)
        return pb.TransferVolumeResponse(
            buckets=map(messages.volume_bucket, answer.value),
            freshness=messages.freshness(answer.freshness),
        )

    async def TopCounterparties(  # noqa: N802 - named as in the contract
        self, request: pb.TopCounterpartiesRequest, call: Call
    ) -> pb.TopCounterpartiesResponse:
        """With whom an account exchanged most, both directions added."""
        await name_accounts(self._identifiers, self._access, call.client, request, ACCOUNT)
        fields = Fields()
        wanted = _counterparty_filter(request, fields)
        terms = ReadTerms(call.deadline_s, fields.position("min_position", request.min_position))
        fields.check()
        facts = await self._access.readable_account(call.client, wanted.account, terms)
        answer = await self._reader.counterparties(wanted, terms)
        for total in answer.value:
            _check_fits(total)
        return pb.TopCounterpartiesResponse(
            counterparties=[messages.counterparty(total, facts.currency) for total in answer.value],
            freshness=messages.freshness(answer.freshness),
        )


def _volume_filter(request: pb.TransferVolumeRequest, fields: Fields) -> VolumeFilter:
    start_us = _required_time("start_time", request, fields)
    end_us = _required_time("end_time", request, fields)
    fields.ordered_times(start_us, end_us)
    interval_s = _INTERVALS_S.get(request.interval, _UNKNOWN_INTERVAL_S)
    if interval_s == _UNKNOWN_INTERVAL_S:
        fields.refuse("interval", "is not a width of interval")
    elif start_us is not None and end_us is not None:
        width_us = interval_s * 1_000_000
        # Intervals are aligned, so the first and the last may stick out of the time asked.
        if (end_us - 1) // width_us - start_us // width_us >= MAX_INTERVALS:
            fields.refuse("end_time", f"at most {MAX_INTERVALS} intervals after start_time")
    return VolumeFilter(
        start_us=start_us or 0,
        end_us=end_us or 0,
        interval_s=interval_s,
        currency=fields.currency("currency", request.currency),
        kinds=fields.kinds("kinds", request.kinds),
    )


def _required_time(field: str, request: pb.TransferVolumeRequest, fields: Fields) -> int | None:
    given = request.HasField(field)  # type: ignore[arg-type]  # the stubs list literals
    if not given:
        fields.refuse(field, "is required")
    return fields.time_us(field, getattr(request, field), given=given)


def _counterparty_filter(
    request: pb.TopCounterpartiesRequest, fields: Fields
) -> CounterpartyFilter:
    start_us = fields.time_us(
        "start_time", request.start_time, given=request.HasField("start_time")
    )
    end_us = fields.time_us("end_time", request.end_time, given=request.HasField("end_time"))
    fields.ordered_times(start_us, end_us)
    return CounterpartyFilter(
        account=fields.account(request, ACCOUNT),
        start_us=start_us,
        end_us=end_us,
        limit=fields.at_most(
            "limit", request.limit, default=DEFAULT_COUNTERPARTIES, maximum=MAX_COUNTERPARTIES
        ),
    )


def _check_fits(total: CounterpartyTotal) -> None:
    if max(total.sent, total.received) > MAX_MINOR:
        raise invalid_field(
            "start_time",
            f"the sum with account {total.account} exceeds int64: ask for a shorter time",
        )
