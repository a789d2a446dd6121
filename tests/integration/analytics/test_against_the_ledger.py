"""Each answer equals what the ledger's own rows give, to the last minor unit, for each caller."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator

import pytest

from paycore.domain.errors import Reason
from paycore.v1 import analytics_service_pb2 as pb
from tests.integration.analytics import oracle, shown
from tests.integration.analytics.conftest import Scene
from tests.integration.analytics.oracle import Reader, Row, Time
from tests.integration.analytics.random_ledger import CURRENCIES, HOUR_US
from tests.integration.query_service.calls import refused

UNDIVIDED = pb.VOLUME_INTERVAL_UNSPECIFIED
DAY = pb.VOLUME_INTERVAL_DAY
HOUR = pb.VOLUME_INTERVAL_HOUR
NEVER = Time(1_000_000, 2_000_000)


def stretches(rows: list[Row], rng: random.Random) -> Iterator[Time]:
    """All of the time, none of it, full hours, and ends at and beside single transfers."""
    first_us, last_us = min(row.at_us for row in rows), max(row.at_us for row in rows)
    yield Time(first_us, last_us + 1)
    yield NEVER
    hours = sorted(rng.sample(range(first_us // HOUR_US, last_us // HOUR_US + 1), 2))
    yield Time(hours[0] * HOUR_US, hours[1] * HOUR_US)
    for _ in range(3):
        some = sorted(rng.choice(rows).at_us + rng.choice((-1, 0, 1)) for _ in range(2))
        yield Time(some[0], max(some[1], some[0] + 1))


def open_stretches(rows: list[Row], rng: random.Random) -> Iterator[Time]:
    yield Time(None, None)
    middle_us = rng.choice(rows).at_us
    yield Time(None, middle_us)
    yield Time(middle_us, None)
    yield from stretches(rows, rng)


def test_the_ledger_is_worth_asking_about(scene: Scene) -> None:
    rows = scene.rows
    assert {row.reason for row in rows} >= {
        None, "INSUFFICIENT_FUNDS", "ACCOUNT_FROZEN", "RISK_DECLINED", "EXCEEDS_REMAINING",
    }  # fmt: skip
    assert len({row.kind for row in rows if row.reason is None}) == 9
    for currency in CURRENCIES:
        sums = [total for some, _, _, total in oracle.kinds(rows) if some == currency]
        assert max(sums) > 2**63
    # Some lie on the edge of a bucket.
    assert any(row.at_us % HOUR_US == 0 for row in rows)
    for reader in ("app", "loadtest", "operator"):
        assert any(row.client == reader for row in rows) == (reader != "operator")


async def test_volume(scene: Scene, reader: Reader, rng: random.Random) -> None:
    seen = [row for row in scene.rows if reader.sees(row)]
    for time in stretches(scene.rows, rng):
        for interval in (DAY, HOUR):
            assert time.start_us is not None
            assert time.end_us is not None
            reply = await scene.callers[reader.client].volume(
                time.start_us, time.end_us, interval=interval
            )
            within = [row for row in seen if time.holds(row)]
            assert shown.volume(reply) == oracle.volume(within, shown.INTERVALS_US[interval]), time


async def test_kinds(scene: Scene, reader: Reader, rng: random.Random) -> None:
    for time in open_stretches(scene.rows, rng):
        currency = rng.choice(("", *CURRENCIES))
        reply = await scene.callers[reader.client].kinds(**shown.times(time), currency=currency)
        assert shown.kinds(reply) == oracle.kinds(
            row
            for row in scene.rows
            if reader.sees(row) and time.holds(row) and currency in ("", row.currency)
        ), time


async def test_kinds_of_an_account(scene: Scene, reader: Reader, rng: random.Random) -> None:
    caller = scene.callers[reader.client]
    for opened in scene.posting.accounts:
        side = oracle.Side(opened.id, opened.institution, opened.opened_by, None)
        time = rng.choice(list(open_stretches(scene.rows, rng)))
        asked = caller.kinds(account_id=opened.id, **shown.times(time))
        if not reader.reads(side):
            assert (await refused(asked)).reason is Reason.NOT_PERMITTED
            continue
        assert shown.kinds(await asked) == oracle.kinds(
            row
            for row in scene.rows
            if opened.id in (row.debit.account, row.credit.account) and time.holds(row)
        )


async def test_institutions(scene: Scene, reader: Reader, rng: random.Random) -> None:
    for time in open_stretches(scene.rows, rng):
        currency = rng.choice(("", *CURRENCIES))
        reply = await scene.callers[reader.client].institutions(
            **shown.times(time), currency=currency
        )
        rows = [
            row
            for row in scene.rows
            if reader.sees(row) and time.holds(row) and currency in ("", row.currency)
        ]
        assert shown.flows(reply) == oracle.flows(rows)
        assert shown.positions(reply) == oracle.positions(rows)
        order = [(one.currency, one.institution) for one in reply.positions]
        assert order == sorted(order)
        nets: dict[str, int] = defaultdict(int)
        for one in reply.positions:
            nets[one.currency] += int(one.net_minor_units)
        assert not any(nets.values())


@pytest.mark.parametrize("interval", [DAY, HOUR])
async def test_activity(
    scene: Scene, reader: Reader, rng: random.Random, interval: pb.VolumeInterval.ValueType
) -> None:
    caller = scene.callers[reader.client]
    for opened in scene.posting.accounts:
        side = oracle.Side(opened.id, opened.institution, opened.opened_by, None)
        for time in rng.sample(list(stretches(scene.rows, rng)), 2):
            assert time.start_us is not None
            assert time.end_us is not None
            asked = caller.activity(opened.id, time.start_us, time.end_us, interval=interval)
            if not reader.reads(side):
                assert (await refused(asked)).reason is Reason.NOT_PERMITTED
                continue
            reply = await asked
            expected = oracle.activity(scene.rows, opened.id, time, shown.INTERVALS_US[interval])
            assert shown.activity(reply) == expected
            assert reply.currency == opened.currency
            total = reply.total
            moved = int(total.credit_minor_units) - int(total.debit_minor_units)
            assert expected.opening + moved == expected.closing
            assert (total.credit_count, total.debit_count) == (
                sum(bucket[1] for bucket in expected.buckets),
                sum(bucket[3] for bucket in expected.buckets),
            )


async def test_declines(scene: Scene, reader: Reader, rng: random.Random) -> None:
    caller = scene.callers[reader.client]
    clients = ("", "app", "loadtest", "elsewhere")
    for time in open_stretches(scene.rows, rng):
        client, currency = rng.choice(clients), rng.choice(("", *CURRENCIES))
        bounded = None not in (time.start_us, time.end_us)
        interval = rng.choice((UNDIVIDED, HOUR, DAY)) if bounded else UNDIVIDED
        reply = await caller.declines(
            **shown.times(time), client=client, currency=currency, interval=interval
        )
        rows = [
            row
            for row in scene.rows
            if reader.sees_as_payer(row)
            and time.holds(row)
            and client in ("", row.client)
            and currency in ("", row.currency)
        ]
        width = shown.INTERVALS_US[interval] if interval else None
        assert shown.declines(reply) == oracle.declines(rows, width)
        assert not interval or all(one.HasField("start_time") for one in reply.declines)
        assert interval or not any(one.HasField("start_time") for one in reply.posted)


async def test_declines_of_a_payer(scene: Scene, reader: Reader) -> None:
    caller = scene.callers[reader.client]
    for opened in scene.posting.accounts:
        side = oracle.Side(opened.id, opened.institution, opened.opened_by, None)
        asked = caller.declines(account_id=opened.id)
        if not reader.reads(side):
            assert (await refused(asked)).reason is Reason.NOT_PERMITTED
            continue
        rows = [row for row in scene.rows if row.debit.account == opened.id]
        assert shown.declines(await asked) == oracle.declines(rows, None)


async def test_counterparties(scene: Scene, reader: Reader) -> None:
    caller = scene.callers[reader.client]
    for opened in scene.posting.accounts:
        side = oracle.Side(opened.id, opened.institution, opened.opened_by, None)
        expected = oracle.counterparties(scene.rows, opened.id)
        asked = caller.counterparties(opened.id, limit=100)
        if not reader.reads(side):
            assert (await refused(asked)).reason is Reason.NOT_PERMITTED
        elif any(max(one[2], one[3]) >= 2**63 for one in expected):
            assert (await refused(asked)).reason is Reason.INVALID_FIELD
        else:
            assert [
                (one.account_id, one.count, one.sent.minor_units, one.received.minor_units)
                for one in (await asked).counterparties
            ] == expected


async def test_all_answers_tell_of_the_same_money(scene: Scene, reader: Reader) -> None:
    caller = scene.callers[reader.client]
    first_us = min(row.at_us for row in scene.rows)
    end_us = max(row.at_us for row in scene.rows) + 1
    by_volume: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for _, currency, kind, count, total in shown.volume(
        await caller.volume(first_us, end_us, interval=HOUR)
    ):
        by_volume[currency, kind][0] += count
        by_volume[currency, kind][1] += total
    by_kind = shown.kinds(await caller.kinds())
    assert by_kind == sorted((*key, *figures) for key, figures in by_volume.items())
    of_currency: dict[str, int] = defaultdict(int)
    for currency, _, _, total in by_kind:
        of_currency[currency] += total
    for currency, _, _, _, total in shown.flows(await caller.institutions()):
        of_currency[currency] -= total
    assert not any(of_currency.values())
