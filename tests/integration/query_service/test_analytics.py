"""TransferVolume and TopCounterparties against an independent model, to the last minor unit."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from paycore.domain.errors import Reason
from paycore.v1 import analytics_service_pb2 as analytics
from paycore.v1.transfer_pb2 import TransferKind
from tests.integration.query_service.calls import Caller, at, named, refused, us
from tests.integration.query_service.conftest import ERA_US, Index
from tests.integration.query_service.ledger_model import (
    MINUTE_US,
    AccountRow,
    Ledger,
    TransferRow,
    counterparties,
    volume,
)

Connect = Callable[[str], grpc.aio.Channel]
MINUTE = analytics.VOLUME_INTERVAL_MINUTE
HOUR = analytics.VOLUME_INTERVAL_HOUR
DAY = analytics.VOLUME_INTERVAL_DAY


@pytest.fixture
def analyst(connect: Connect) -> Caller:
    return Caller.on(connect("analyst"))


def totals(
    reply: analytics.TransferVolumeResponse,
) -> dict[tuple[int, str, str], tuple[int, int]]:
    return {
        (
            us(bucket.start_time),
            bucket.currency,
            TransferKind.Name(bucket.kind).removeprefix("TRANSFER_KIND_"),
        ): (bucket.count, int(bucket.total_minor_units))
        for bucket in reply.buckets
    }


@pytest.mark.parametrize(
    ("interval", "interval_us"), [(MINUTE, MINUTE_US), (HOUR, 60 * MINUTE_US), (DAY, ERA_US)]
)
async def test_volume_is_what_the_model_adds_up(
    ledger: Ledger, index: Index, analyst: Caller, interval: int, interval_us: int
) -> None:
    for _ in range(8):
        ledger.open_account()
    for currency in ("EUR", "JPY"):
        ledger.open_account(currency=currency)
        ledger.open_account(currency=currency)
    # More buckets by the minute than one page of the aggregation holds.
    ledger.move_at_random(4_000)
    await index.add(ledger.documents())
    # Bounds inside an interval cut it.
    start_us = ledger.start_us + 90_000_001
    end_us = ledger.start_us + ledger.duration_us - 30_000_000
    reply = await analyst.volume(start_us, end_us, interval=interval)
    expected = volume(ledger.transfers, start_us=start_us, end_us=end_us, interval_us=interval_us)
    assert totals(reply) == expected
    order = [(us(b.start_time), b.currency, TransferKind.Name(b.kind)) for b in reply.buckets]
    assert order == sorted(order)
    if interval == MINUTE:
        assert len(order) > 2_000


async def test_volume_of_one_currency_and_some_kinds(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    for currency in ("EUR", "EUR", "JPY", "JPY"):
        ledger.open_account(currency=currency)
    ledger.move_at_random(300)
    await index.add(ledger.documents())
    start_us, end_us = ledger.start_us, ledger.start_us + ledger.duration_us
    for kinds in (("TRANSFER", "DEPOSIT"), ("HOLD", "REFUND", "RELEASE"), ("HOLD",)):
        numbers = [TransferKind.Value(f"TRANSFER_KIND_{kind}") for kind in kinds]
        reply = await analyst.volume(start_us, end_us, interval=HOUR, currency="JPY", kinds=numbers)
        expected = volume(
            ledger.transfers,
            start_us=start_us,
            end_us=end_us,
            interval_us=60 * MINUTE_US,
            kinds=kinds,
            may_see=lambda t: t.debit.currency == "JPY",
        )
        assert expected
        assert totals(reply) == expected


async def test_what_is_held_or_freed_has_not_moved_and_what_is_given_back_has(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    payer, payee = (ledger.open_account(currency="EUR") for _ in range(2))

    def move(debit: AccountRow, credit: AccountRow, kind: str, amount: int) -> None:
        ledger.move(
            debit, credit, kind=kind, amount=amount, declined=False, created_at_us=ledger.start_us
        )

    move(payer, payee, "HOLD", 1_000)
    move(payer, payee, "CAPTURE", 600)
    move(payer, payee, "RELEASE", 400)
    move(payee, payer, "REFUND", 250)
    move(payer, payee, "TRANSFER", 70)
    move(payee, payer, "REVERSAL", 70)
    await index.add(ledger.documents())
    reply = await analyst.volume(ledger.start_us, ledger.start_us + 1, interval=DAY)
    assert {kind: total for (_, _, kind), (_, total) in totals(reply).items()} == {
        "CAPTURE": 600, "REFUND": 250, "TRANSFER": 70, "REVERSAL": 70,
    }  # fmt: skip
    [other] = (await analyst.counterparties(payer.id)).counterparties
    assert (other.account_id, other.count) == (payee.id, 4)
    assert (other.sent.minor_units, other.received.minor_units) == (670, 320)
    [other] = (await analyst.counterparties(payee.id)).counterparties
    assert (other.sent.minor_units, other.received.minor_units) == (320, 670)


async def test_sums_stay_exact_far_beyond_doubles_and_int64(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    payer, payee = (ledger.open_account(currency="EUR") for _ in range(2))
    amounts = [2**62 - 1, 2**62 + 1, 2**63 - 1, 1, 2**53 + 1, 2**42 - 1] * 50
    for amount in amounts:
        ledger.move(
            payer,
            payee,
            amount=amount,
            declined=False,
            kind="TRANSFER",
            created_at_us=ledger.start_us,
        )
    await index.add(ledger.documents())
    reply = await analyst.volume(ledger.start_us, ledger.start_us + 1, interval=MINUTE)
    (bucket,) = reply.buckets
    assert bucket.total_minor_units == str(sum(amounts))
    assert bucket.count == 300
    # The sum with one counterparty is an int64 in the contract, so this one cannot be told.
    error = await refused(analyst.counterparties(payer.id))
    assert error.reason is Reason.INVALID_FIELD
    assert named(error) == {"start_time"}


@pytest.mark.parametrize("caller", ["analyst", "app", "loadtest"])
async def test_volume_adds_up_only_what_the_client_may_see(
    ledger: Ledger, index: Index, connect: Connect, caller: str
) -> None:
    for _ in range(12):
        ledger.open_account(currency="EUR")
    ledger.move_at_random(500)
    await index.add(ledger.documents())

    def may_see(t: TransferRow) -> bool:
        sides = (t.debit, t.credit)
        return (
            caller == "analyst"
            or t.client == caller
            or any(side.opened_by == caller for side in sides)
            or (caller == "loadtest" and any(side.institution == "north" for side in sides))
        )

    start_us, end_us = ledger.start_us, ledger.start_us + ledger.duration_us
    reply = await Caller.on(connect(caller)).volume(start_us, end_us, interval=HOUR)
    expected = volume(
        ledger.transfers,
        start_us=start_us,
        end_us=end_us,
        interval_us=60 * MINUTE_US,
        may_see=may_see,
    )
    assert totals(reply) == expected


async def test_counterparties_are_ranked_exactly_by_both_directions(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    for _ in range(40):
        ledger.open_account(currency="EUR")
    pick = ledger.random
    for _ in range(1_500):
        debit, credit = pick.sample(ledger.accounts, 2)
        # Sums beyond 2**53 that differ by single units: doubles would rank them at random.
        ledger.move(debit, credit, amount=pick.choice((2**54, 2**54 + 1, 1)), declined=False)
    await index.add(ledger.documents())
    for account in ledger.accounts[:5]:
        reply = await analyst.counterparties(account.id, limit=100)
        shown = [
            (c.account_id, c.count, c.sent.minor_units, c.received.minor_units)
            for c in reply.counterparties
        ]
        assert shown == counterparties(ledger.transfers, account.id)
        assert {c.sent.currency for c in reply.counterparties} == {"EUR"}
        top = await analyst.counterparties(account.id)
        assert [c.account_id for c in top.counterparties] == [row[0] for row in shown[:10]]


async def test_counterparties_beyond_one_page_of_the_aggregation_all_count(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    hub = ledger.open_account(currency="EUR")
    others = [ledger.open_account(currency="EUR") for _ in range(2_300)]
    for place, other in enumerate(others):
        ledger.move(other, hub, kind="TRANSFER", amount=1_000 + place % 7, declined=False)
    # The last by id receives most: whoever stops early does not find it.
    ledger.move(hub, others[-1], kind="TRANSFER", amount=5_000, declined=False)
    await index.add(ledger.documents())
    reply = await analyst.counterparties(hub.id, limit=3)
    shown = [
        (c.account_id, c.count, c.sent.minor_units, c.received.minor_units)
        for c in reply.counterparties
    ]
    assert shown == counterparties(ledger.transfers, hub.id)[:3]
    assert shown[0][0] == others[-1].id


async def test_counterparties_of_a_stretch_of_time(
    ledger: Ledger, index: Index, analyst: Caller
) -> None:
    for _ in range(4):
        ledger.open_account(currency="EUR")
    ledger.move_at_random(200)
    await index.add(ledger.documents())
    account = ledger.accounts[0].id
    middle_us = ledger.start_us + ledger.duration_us // 2
    inside = [t for t in ledger.transfers if t.amount < 10 and t.created_at_us < middle_us]
    huge = [t for t in ledger.transfers if t.amount >= 10]
    first_huge_us = min(t.created_at_us for t in huge)
    end_us = min(first_huge_us, middle_us)
    expected = counterparties([t for t in inside if t.created_at_us < end_us], account)
    reply = await analyst.counterparties(account, end_time=at(end_us), limit=100)
    assert [c.account_id for c in reply.counterparties] == [row[0] for row in expected]
