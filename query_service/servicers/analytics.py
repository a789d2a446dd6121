"""AnalyticsService: how much."""

from __future__ import annotations

from paycore.domain.errors import invalid_field
from paycore.domain.money import MAX_MINOR
from paycore.runtime.account_names import ACCOUNT
from paycore.runtime.clock import Clock
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import analytics_service_pb2 as pb
from query_service.access import Access
from query_service.institution_positions import positions_of
from query_service.readers.port import AnalyticsReader, ReadTerms
from query_service.readers.records import CounterpartyTotal
from query_service.servicers import analytics_fields as wanted_of
from query_service.servicers import analytics_messages as messages
from query_service.servicers.fields import Fields
from query_service.servicers.messages import freshness
from query_service.servicers.names import name_accounts


class AnalyticsServicer:
    """Answers from `reader` over what `access` lets the calling client see."""

    def __init__(
        self, reader: AnalyticsReader, access: Access, identifiers: Identifiers, clock: Clock
    ) -> None:
        self._reader = reader
        self._access = access
        self._identifiers = identifiers
        self._clock = clock

    async def TransferVolume(  # noqa: N802 - named as in the contract
        self, request: pb.TransferVolumeRequest, call: Call
    ) -> pb.TransferVolumeResponse:
        """Count and sum per interval, currency and kind of what the client may see."""
        fields = Fields()
        wanted = wanted_of.volume_filter(request, fields)
        terms = _terms(request.min_position, call, fields)
        answer = await self._reader.volume(wanted, self._access.viewer(call.client), terms)
        return pb.TransferVolumeResponse(
            buckets=map(messages.volume_bucket, answer.value),
            freshness=freshness(answer.freshness),
        )

    async def TopCounterparties(  # noqa: N802 - named as in the contract
        self, request: pb.TopCounterpartiesRequest, call: Call
    ) -> pb.TopCounterpartiesResponse:
        """With whom an account exchanged most, both directions added."""
        await name_accounts(self._identifiers, self._access, call.client, request, ACCOUNT)
        fields = Fields()
        wanted = wanted_of.counterparty_filter(request, fields)
        terms = _terms(request.min_position, call, fields)
        facts = await self._access.readable_account(call.client, wanted.account, terms)
        answer = await self._reader.counterparties(wanted, terms)
        for total in answer.value:
            _check_fits(total)
        return pb.TopCounterpartiesResponse(
            counterparties=[messages.counterparty(total, facts.currency) for total in answer.value],
            freshness=freshness(answer.freshness),
        )

    async def KindBreakdown(  # noqa: N802 - named as in the contract
        self, request: pb.KindBreakdownRequest, call: Call
    ) -> pb.KindBreakdownResponse:
        """Count and sum per currency and kind, of an account or of what the client may see."""
        await name_accounts(self._identifiers, self._access, call.client, request, ACCOUNT)
        fields = Fields()
        stretch = wanted_of.stretch(request, fields)
        account = fields.optional_account(request, ACCOUNT)
        terms = _terms(request.min_position, call, fields)
        if account is not None:
            await self._access.readable_account(call.client, account, terms)
        viewer = self._access.viewer(call.client)
        answer = await self._reader.kinds(stretch, account, viewer, terms)
        return pb.KindBreakdownResponse(
            totals=map(messages.kind_total, answer.value), freshness=freshness(answer.freshness)
        )

    async def InstitutionPositions(  # noqa: N802 - named as in the contract
        self, request: pb.InstitutionPositionsRequest, call: Call
    ) -> pb.InstitutionPositionsResponse:
        """What moved between institutions, of what the client may see, and their positions."""
        fields = Fields()
        stretch = wanted_of.stretch(request, fields)
        terms = _terms(request.min_position, call, fields)
        answer = await self._reader.flows(stretch, self._access.viewer(call.client), terms)
        positions = positions_of(answer.value)
        return pb.InstitutionPositionsResponse(
            flows=map(messages.flow, answer.value),
            positions=map(messages.institution_position, positions),
            freshness=freshness(answer.freshness),
        )

    async def AccountActivity(  # noqa: N802 - named as in the contract
        self, request: pb.AccountActivityRequest, call: Call
    ) -> pb.AccountActivityResponse:
        """What an account was credited and debited per interval, and its balance after each."""
        await name_accounts(self._identifiers, self._access, call.client, request, ACCOUNT)
        fields = Fields()
        wanted = wanted_of.activity_filter(request, fields)
        terms = _terms(request.min_position, call, fields)
        facts = await self._access.readable_account(call.client, wanted.account, terms)
        answer = await self._reader.activity(wanted, terms)
        activity = answer.value
        return pb.AccountActivityResponse(
            currency=facts.currency,
            opening_balance_minor_units=activity.opening,
            buckets=map(messages.activity_bucket, activity.buckets),
            total=messages.activity_total(activity, wanted.start_us),
            freshness=freshness(answer.freshness),
        )

    async def DeclineStatistics(  # noqa: N802 - named as in the contract
        self, request: pb.DeclineStatisticsRequest, call: Call
    ) -> pb.DeclineStatisticsResponse:
        """Declines by reason beside what was posted, of a payer or of what the client may see."""
        await name_accounts(self._identifiers, self._access, call.client, request, ACCOUNT)
        fields = Fields()
        wanted = wanted_of.decline_filter(request, fields)
        terms = _terms(request.min_position, call, fields)
        if wanted.payer is not None:
            await self._access.readable_account(call.client, wanted.payer, terms)
        answer = await self._reader.declines(wanted, self._access.viewer(call.client), terms)
        return pb.DeclineStatisticsResponse(
            declines=map(messages.decline_total, answer.value.declines),
            posted=map(messages.posted_total, answer.value.posted),
            freshness=freshness(answer.freshness),
        )

    async def LatencyOfProjection(  # noqa: N802 - named as in the contract
        self, request: pb.LatencyOfProjectionRequest, call: Call
    ) -> pb.LatencyOfProjectionResponse:
        """How far each sink is behind the ledger, and was lately."""
        terms = _terms(request.min_position, call, Fields())
        answer = await self._reader.latencies(terms)
        now_us = self._clock.now_us()
        return pb.LatencyOfProjectionResponse(
            sinks=[messages.sink_latency(latency, now_us) for latency in answer.value],
            freshness=freshness(answer.freshness),
        )


def _terms(min_position: str, call: Call, fields: Fields) -> ReadTerms:
    """The terms of the call. Raises INVALID_FIELD with all that `fields` found wrong."""
    position = fields.position("min_position", min_position)
    fields.check()
    return ReadTerms(call.deadline_s, position)


def _check_fits(total: CounterpartyTotal) -> None:
    if max(total.sent, total.received) > MAX_MINOR:
        raise invalid_field(
            "start_time",
            f"the sum with account {total.account} exceeds int64: ask for a shorter time",
        )
