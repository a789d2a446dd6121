"""Every bad field is named, all of them at once, before anything is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.errors import Reason
from paycore.v1 import analytics_service_pb2 as analytics
from paycore.v1 import history_service_pb2 as history
from tests.integration.query_service.calls import Caller, at, named, refused

Connect = Callable[[str], grpc.aio.Channel]
TRANSFER: Any = history.GetTransferRequest
BALANCE: Any = history.GetBalanceRequest
STATEMENT: Any = history.GetStatementRequest
LIST: Any = history.ListTransfersRequest
VOLUME: Any = analytics.TransferVolumeRequest
TOP: Any = analytics.TopCounterpartiesRequest
KINDS: Any = analytics.KindBreakdownRequest
INSTITUTIONS: Any = analytics.InstitutionPositionsRequest
ACTIVITY: Any = analytics.AccountActivityRequest
DECLINES: Any = analytics.DeclineStatisticsRequest
LATENCY: Any = analytics.LatencyOfProjectionRequest
MINUTE = analytics.VOLUME_INTERVAL_MINUTE
NEVER = Timestamp(seconds=-(2**40))
CROOKED = Timestamp(seconds=1, nanos=1_000_000_000)
TIMES: dict[str, Any] = {"start_time": at(0), "end_time": at(60_000_000), "interval": MINUTE}

BAD: list[tuple[Any, set[str]]] = [
    (TRANSFER(), {"transfer_id"}),
    (TRANSFER(transfer_id=-1), {"transfer_id"}),
    (
        TRANSFER(min_position="nonsense"),
        {"transfer_id", "min_position"},
    ),
    (TRANSFER(transfer_id=1, min_position="A" * 9_000), {"min_position"}),
    (TRANSFER(transfer_id=1, min_position="é\x00"), {"min_position"}),
    (BALANCE(), {"account_id"}),
    (BALANCE(account_id=-(2**63)), {"account_id"}),
    (BALANCE(account_id=1, at_time=CROOKED), {"at_time"}),
    (STATEMENT(), {"account_id", "start_time", "end_time"}),
    (STATEMENT(account_id=1, start_time=at(5)), {"end_time"}),
    (STATEMENT(account_id=1, start_time=at(5), end_time=at(5)), {"end_time"}),
    (STATEMENT(account_id=1, start_time=NEVER, end_time=at(5)), {"start_time"}),
    (STATEMENT(account_id=1, start_time=at(1), end_time=at(5), page_size=1_001), {"page_size"}),
    (STATEMENT(account_id=1, start_time=at(1), end_time=at(5), page_size=-1), {"page_size"}),
    (STATEMENT(account_id=1, start_time=at(1), end_time=at(5), page_token="x"), {"page_token"}),
    (STATEMENT(account_id=1, start_time=at(1), end_time=at(5), min_position="?"), {"min_position"}),
    (LIST(), {"account_id"}),
    (LIST(account_id=1, page_size=-1), {"page_size"}),
    (LIST(account_id=1, page_size=501), {"page_size"}),
    (LIST(account_id=1, page_token="x"), {"page_token"}),
    (LIST(account_id=1, page_token="x" * 100_000), {"page_token"}),
    (LIST(account_id=1, start_time=NEVER), {"start_time"}),
    (LIST(account_id=1, end_time=CROOKED), {"end_time"}),
    (LIST(account_id=1, start_time=at(5), end_time=at(5)), {"end_time"}),
    (LIST(account_id=1, kinds=[1, 0]), {"kinds[1]"}),
    (LIST(account_id=1, kinds=[99]), {"kinds[0]"}),
    (LIST(account_id=1, kinds=[1] * 17), {"kinds"}),
    (LIST(account_id=1, counterparty_account_id=-1), {"counterparty_account_id"}),
    (LIST(account_id=1, counterparty_account_id=1), {"counterparty_account_id"}),
    (LIST(account_id=1, min_minor_units=-1), {"min_minor_units"}),
    (LIST(account_id=1, max_minor_units=-1), {"max_minor_units"}),
    (LIST(account_id=1, min_minor_units=5, max_minor_units=4), {"max_minor_units"}),
    (LIST(account_id=1, reference="a" * 129), {"reference"}),
    (LIST(account_id=1, reference="a\x00b"), {"reference"}),
    (LIST(account_id=1, reference="a\nb"), {"reference"}),
    (
        LIST(kinds=[0], reference="\t", page_size=-1, min_position="?", max_minor_units=-9),
        {"account_id", "kinds[0]", "reference", "page_size", "min_position", "max_minor_units"},
    ),
    (VOLUME(), {"start_time", "end_time", "interval"}),
    (VOLUME(**{**TIMES, "interval": 9}), {"interval"}),
    (VOLUME(**{**TIMES, "end_time": at(0)}), {"end_time"}),
    (VOLUME(**{**TIMES, "end_time": at(2_000 * 60_000_000 + 1)}), {"end_time"}),
    # 2,000 minutes, but begun within one: 2,001 buckets.
    (VOLUME(start_time=at(1), end_time=at(120_000_000_001), interval=MINUTE), {"end_time"}),
    (VOLUME(currency="eur", **TIMES), {"currency"}),
    (VOLUME(currency="ZZZ", **TIMES), {"currency"}),
    (VOLUME(currency="EUR ", **TIMES), {"currency"}),
    (VOLUME(kinds=[99], **TIMES), {"kinds[0]"}),
    (VOLUME(min_position="x", **TIMES), {"min_position"}),
    (TOP(), {"account_id"}),
    (TOP(account_id=1, limit=101), {"limit"}),
    (TOP(account_id=1, limit=-1), {"limit"}),
    (TOP(account_id=1, start_time=at(9), end_time=at(8)), {"end_time"}),
    (TOP(limit=101, min_position="x", start_time=CROOKED),
     {"account_id", "limit", "min_position", "start_time"}),
    (KINDS(account_id=-1), {"account_id"}),
    (KINDS(account_identifier={"scheme": "?", "value": ""}),
     {"account_identifier.scheme", "account_identifier.value"}),
    (KINDS(start_time=at(9), end_time=at(9)), {"end_time"}),
    (KINDS(start_time=NEVER, currency="eur", min_position="x"),
     {"start_time", "currency", "min_position"}),
    (INSTITUTIONS(start_time=at(9), end_time=at(8)), {"end_time"}),
    (INSTITUTIONS(end_time=CROOKED, currency="ZZZ", min_position="x"),
     {"end_time", "currency", "min_position"}),
    (ACTIVITY(), {"account_id", "start_time", "end_time", "interval"}),
    (ACTIVITY(account_id=1, **{**TIMES, "interval": 9}), {"interval"}),
    (ACTIVITY(account_id=1, **{**TIMES, "end_time": at(0)}), {"end_time"}),
    (ACTIVITY(account_id=1, **{**TIMES, "end_time": at(2_000 * 60_000_000 + 1)}), {"end_time"}),
    (ACTIVITY(min_position="x", **TIMES), {"account_id", "min_position"}),
    (DECLINES(account_id=-1, currency="eur"), {"account_id", "currency"}),
    (DECLINES(client="a" * 129), {"client"}),
    (DECLINES(client="a\nb", start_time=NEVER), {"client", "start_time"}),
    # Only where the time is divided must it be bounded.
    (DECLINES(interval=MINUTE), {"start_time", "end_time"}),
    (DECLINES(interval=9), {"start_time", "end_time", "interval"}),
    (DECLINES(**{**TIMES, "end_time": at(2_000 * 60_000_000 + 1)}), {"end_time"}),
    (LATENCY(min_position="x"), {"min_position"}),
]  # fmt: skip


def send(caller: Caller, request: Any) -> Any:
    methods = {
        TRANSFER: caller.history.GetTransfer,
        BALANCE: caller.history.GetBalance,
        STATEMENT: caller.history.GetStatement,
        LIST: caller.history.ListTransfers,
        VOLUME: caller.analytics.TransferVolume,
        TOP: caller.analytics.TopCounterparties,
        KINDS: caller.analytics.KindBreakdown,
        INSTITUTIONS: caller.analytics.InstitutionPositions,
        ACTIVITY: caller.analytics.AccountActivity,
        DECLINES: caller.analytics.DeclineStatistics,
        LATENCY: caller.analytics.LatencyOfProjection,
    }
    return methods[type(request)](request, timeout=10)


def _name(value: object) -> str:
    """The same in each process that collects the tests."""
    return str(sorted(value) if isinstance(value, set) else value)[:60]


@pytest.mark.parametrize(("request_", "fields"), BAD, ids=_name)
async def test_a_bad_request_names_every_bad_field(
    connect: Connect, request_: Any, fields: set[str]
) -> None:
    error = await refused(send(Caller.on(connect("analyst")), request_))
    assert (error.reason, named(error)) == (Reason.INVALID_FIELD, fields)


async def test_the_widest_request_is_answered(connect: Connect) -> None:
    analyst = Caller.on(connect("analyst"))
    widest = VOLUME(start_time=at(0), end_time=at(2_000 * 60_000_000), interval=MINUTE)
    assert list((await send(analyst, widest)).buckets) == []


async def test_a_call_without_a_deadline_is_refused(connect: Connect) -> None:
    analyst = Caller.on(connect("analyst"))
    error = await refused(analyst.history.GetBalance(BALANCE(account_id=1)))
    assert error.reason is Reason.DEADLINE_REQUIRED
