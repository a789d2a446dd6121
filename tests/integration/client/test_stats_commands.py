"""`paycore stats` against a real server: what it asks, shows and prints."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from google.protobuf.message import Message
from typer.testing import CliRunner, Result

from operations.cli.app import app
from paycore.v1 import analytics_service_pb2 as pb
from paycore.v1 import freshness_pb2, money_pb2, transfer_pb2
from tests.integration.client.scripted import Script

FRESH = freshness_pb2.Freshness(source="elasticsearch")
TRANSFER = transfer_pb2.TRANSFER_KIND_TRANSFER
HUGE = 2**70


@pytest.fixture(autouse=True)
def _addresses(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMMAND", "QUERY", "SIGNING"):
        monkeypatch.setenv(f"PAYCORE_{name}_TARGET", target)
    monkeypatch.setenv("PAYCORE_INSECURE", "true")
    monkeypatch.setenv("COLUMNS", "200")


async def paycore(*arguments: str) -> Result:
    # The commands run an event loop of their own.
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))


def activity_bucket(closing: int) -> pb.ActivityBucket:
    bucket = pb.ActivityBucket(
        credit_count=1,
        credit_minor_units="250",
        debit_count=1,
        debit_minor_units="100",
        closing_balance_minor_units=closing,
    )
    bucket.start_time.FromDatetime(datetime(2026, 11, 2, tzinfo=UTC))
    return bucket


KINDS = pb.KindBreakdownResponse(
    totals=[
        pb.KindTotal(currency="EUR", kind=TRANSFER, count=2, total_minor_units=str(HUGE)),
    ],
    freshness=FRESH,
)
INSTITUTIONS = pb.InstitutionPositionsResponse(
    flows=[
        pb.InstitutionFlow(
            currency="JPY",
            from_institution="north",
            to_institution="south",
            count=2,
            total_minor_units="1500",
        )
    ],
    positions=[
        pb.InstitutionPosition(
            currency="JPY",
            institution="north",
            paid_minor_units="1500",
            received_minor_units="0",
            net_minor_units="-1500",
            within_minor_units="0",
        )
    ],
    freshness=FRESH,
)
ACTIVITY = pb.AccountActivityResponse(
    currency="EUR",
    opening_balance_minor_units=1_000,
    buckets=[activity_bucket(1_150)],
    total=activity_bucket(1_150),
    freshness=FRESH,
)
DECLINES = pb.DeclineStatisticsResponse(
    declines=[
        pb.DeclineTotal(
            currency="BHD",
            kind=TRANSFER,
            reason="INSUFFICIENT_FUNDS",
            count=1,
            total_minor_units="5000",
        )
    ],
    posted=[pb.PostedTotal(currency="BHD", kind=TRANSFER, count=3, total_minor_units="2500")],
    freshness=FRESH,
)
COUNTERPARTIES = pb.TopCounterpartiesResponse(
    counterparties=[
        pb.Counterparty(
            account_id=12,
            count=4,
            sent=money_pb2.Money(minor_units=125, currency="EUR"),
            received=money_pb2.Money(minor_units=0, currency="EUR"),
        )
    ],
    freshness=FRESH,
)
LATENCY = pb.LatencyOfProjectionResponse(
    sinks=[pb.SinkLatency(sink="elasticsearch", position="there")], freshness=FRESH
)


@pytest.mark.parametrize(
    ("command", "reply", "shown"),
    [
        (["kinds"], KINDS, ["transfer", "11,805,916,207,174,113,034.24 EUR", "2"]),
        (["institutions"], INSTITUTIONS, ["north", "-1,500 JPY", "south", "1,500 JPY"]),
        (["activity", "11"], ACTIVITY, ["opening", "10.00", "2026-11-02", "+2.50", "-1.00",
                                        "11.50", "total"]),
        (["declines"], DECLINES, ["insufficient funds", "25.0%", "5.000 BHD", "posted", "75.0%"]),
        (["counterparties", "11"], COUNTERPARTIES, ["12", "1.25 EUR", "0.00 EUR", "4"]),
        (["latency"], LATENCY, ["elasticsearch", "behind now"]),
    ],
)  # fmt: skip
async def test_figures_are_shown_as_people_write_them(
    script: Script, command: list[str], reply: Message, shown: list[str]
) -> None:
    script.play(reply)
    result = await paycore("stats", *command)
    assert result.exit_code == 0, result.output
    for text in shown:
        assert text in result.stdout
    assert "from elasticsearch" in result.stdout


async def test_json_keeps_every_digit(script: Script) -> None:
    script.play(KINDS)
    result = await paycore("stats", "kinds", "--json")
    [total] = json.loads(result.stdout)["totals"]
    assert (total["total"], total["count"]) == (str(HUGE), "2")


async def test_the_time_asked_for_is_sent(script: Script) -> None:
    script.play(KINDS)
    await paycore("stats", "kinds", "--since", "2026-11-01", "--until", "2026-12-01")
    sent = script.requests[0]
    assert sent.start_time.ToJsonString() == "2026-11-01T00:00:00Z"
    assert sent.end_time.ToJsonString() == "2026-12-01T00:00:00Z"


async def test_a_line_for_each_interval_is_of_30_days_where_no_time_is_given(
    script: Script,
) -> None:
    script.play(DECLINES)
    result = await paycore("stats", "declines", "--interval", "day")
    assert result.exit_code == 0, result.output
    sent = script.requests[0]
    assert sent.end_time.seconds - sent.start_time.seconds == 30 * 86_400
    assert sent.interval == pb.VOLUME_INTERVAL_DAY


@pytest.mark.parametrize("options", [["--last", "soon"], ["--last", "1h", "--since", "2026-11-01"]])
async def test_an_unclear_time_ends_with_2_and_asks_nothing(
    script: Script, options: list[str]
) -> None:
    result = await paycore("stats", "kinds", *options)
    assert result.exit_code == 2
    assert script.requests == []


async def test_nothing_is_said_to_be_nothing(script: Script) -> None:
    for command, reply in (
        ("kinds", pb.KindBreakdownResponse(freshness=FRESH)),
        ("institutions", pb.InstitutionPositionsResponse(freshness=FRESH)),
        ("declines", pb.DeclineStatisticsResponse(freshness=FRESH)),
        ("latency", pb.LatencyOfProjectionResponse(freshness=FRESH)),
    ):
        script.play(reply)
        result = await paycore("stats", command)
        assert result.exit_code == 0, result.output
        assert "nothing" in result.stdout or "no sink" in result.stdout
