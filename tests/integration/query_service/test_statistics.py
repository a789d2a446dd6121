"""Statistics at their bounds, and of an index that lacks something."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from paycore.domain.errors import Reason
from paycore.v1 import analytics_service_pb2 as analytics
from projector.batch import Document
from tests.integration.query_service.calls import Caller, at, named, refused, us
from tests.integration.query_service.conftest import ERA_US, Index
from tests.integration.query_service.ledger_model import (
    KINDS,
    MINUTE_US,
    MOVES_NOTHING,
    AccountRow,
    Ledger,
)

Connect = Callable[[str], grpc.aio.Channel]
MINUTE = analytics.VOLUME_INTERVAL_MINUTE
DAY = analytics.VOLUME_INTERVAL_DAY
MOVING = [kind for kind in KINDS if kind not in MOVES_NOTHING]
WIDE_MINUTES = 2_000


@pytest.fixture
def analyst(connect: Connect) -> Caller:
    return Caller.on(connect("analyst"))


def between_banks(ledger: Ledger, banks: int, currency: str = "EUR") -> dict[tuple[str, str], int]:
    """Move something from each bank to each, itself too; returns the sums."""
    payers, payees = (
        [ledger.open_account(currency=currency, institution=f"bank-{n:04}") for n in range(banks)]
        for _ in range(2)
    )
    sums: dict[tuple[str, str], int] = defaultdict(int)
    place = 0
    for payer in payers:
        for payee in payees:
            # Each in a minute and of a kind of its own, so that volume has as many totals.
            minute, kind = place % WIDE_MINUTES, MOVING[place // WIDE_MINUTES % len(MOVING)]
            row = ledger.move(
                payer,
                payee,
                kind=kind,
                declined=False,
                created_at_us=ledger.start_us + minute * MINUTE_US,
            )
            sums[payer.institution, payee.institution] += row.amount
            place += 1
    return sums


async def test_thousands_of_pairs_of_institutions_all_count(
    ledger: Ledger, index: Index, analyst: Caller, era: Callable[[], int]
) -> None:
    era()
    sums = between_banks(ledger, 70)
    await index.add(ledger.documents())
    reply = await analyst.institutions(
        start_time=at(ledger.start_us), end_time=at(ledger.start_us + 2 * ERA_US)
    )
    found = {
        (flow.from_institution, flow.to_institution): int(flow.total_minor_units)
        for flow in reply.flows
    }
    assert found == sums
    assert len(found) == 4_900
    assert sum(int(one.net_minor_units) for one in reply.positions) == 0
    assert sum(int(one.paid_minor_units) + int(one.within_minor_units) for one in reply.positions)\
        == sum(sums.values())  # fmt: skip


async def test_more_than_can_be_told_is_refused_with_how_to_ask_for_less(
    ledger: Ledger, index: Index, analyst: Caller, era: Callable[[], int]
) -> None:
    era()
    between_banks(ledger, 127)
    between_banks(ledger, 65, "JPY")
    await index.add(ledger.documents())
    start_us, end_us = ledger.start_us, ledger.start_us + WIDE_MINUTES * MINUTE_US
    time: dict[str, Any] = {"start_time": at(start_us), "end_time": at(end_us)}
    error = await refused(analyst.institutions(**time))
    assert (error.reason, named(error)) == (Reason.INVALID_FIELD, {"currency"})
    assert "shorter time" in error.violations[0].description
    error = await refused(analyst.volume(start_us, end_us, interval=MINUTE))
    assert (error.reason, named(error)) == (Reason.INVALID_FIELD, {"end_time"})
    assert "wider interval" in error.violations[0].description
    error = await refused(analyst.declines(interval=MINUTE, **time))
    assert (error.reason, named(error)) == (Reason.INVALID_FIELD, {"end_time"})
    # What the refusals advise helps.
    time["end_time"] = at(start_us + 100 * MINUTE_US)
    assert len((await analyst.institutions(**time)).flows) > 1_000
    assert (await analyst.volume(start_us, end_us, interval=DAY)).buckets


async def test_an_account_whose_transfers_are_not_all_there_yet_is_told_to_be_behind(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    payer = ledger.open_account(currency="EUR")
    payee = ledger.open_account(currency="EUR")
    amounts = (5, 7, 11)
    for place, amount in enumerate(amounts):
        ledger.move(
            payer,
            payee,
            amount=amount,
            kind="TRANSFER",
            declined=False,
            created_at_us=ledger.start_us + place,
            debit_balance_after=-sum(amounts[: place + 1]),
            credit_balance_after=sum(amounts[: place + 1]),
        )
    *accounts, first, second, third = ledger.documents()
    await index.add([*accounts, first, third])

    def ask(start_us: int) -> Awaitable[analytics.AccountActivityResponse]:
        return analyst.activity(payee.id, start_us, ledger.start_us + ERA_US, interval=DAY)

    error = await refused(ask(ledger.start_us))
    assert error.reason is Reason.INDEX_BEHIND
    assert error.retry_after_ms
    # Before and after the gap nothing is missing.
    assert (await ask(ledger.start_us + 3)).opening_balance_minor_units == 23
    await index.add([second])
    reply = await ask(ledger.start_us)
    [bucket] = reply.buckets
    assert (us(bucket.start_time), bucket.credit_count) == (ledger.start_us, 3)
    assert (bucket.credit_minor_units, bucket.closing_balance_minor_units) == ("23", 23)
    reply = await ask(ledger.start_us + 1)
    assert (reply.opening_balance_minor_units, reply.total.credit_minor_units) == (5, "18")


async def test_an_account_without_transfers_has_no_activity(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    account = ledger.open_account(currency="JPY")
    await index.add(ledger.documents())
    reply = await analyst.activity(
        account.id, ledger.start_us, ledger.start_us + ERA_US, interval=DAY
    )
    assert (reply.currency, list(reply.buckets)) == ("JPY", [])
    assert (reply.opening_balance_minor_units, reply.total.closing_balance_minor_units) == (0, 0)
    assert (reply.total.credit_minor_units, reply.total.debit_minor_units) == ("0", "0")


async def test_a_transfer_without_its_institution_is_no_answer(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    accounts: list[AccountRow] = [ledger.open_account(currency="EUR") for _ in range(2)]
    ledger.move(*accounts, kind="TRANSFER", declined=False, created_at_us=ledger.start_us)
    ledger.move(*accounts, kind="TRANSFER", declined=False, created_at_us=ledger.start_us)
    *others, last = ledger.documents()
    body = json.loads(last.body)
    del body["credit_institution"]
    await index.add([*others, Document(last.kind, last.id, 1, json.dumps(body).encode())])
    time: dict[str, Any] = {"start_time": at(ledger.start_us), "end_time": at(ledger.start_us + 1)}
    error = await refused(analyst.institutions(**time))
    assert error.reason is Reason.INTERNAL
    assert (await analyst.kinds(**time)).totals[0].count == 2
