"""Every answer of AnalyticsService, reckoned from the ledger's rows and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg

ROWS = """
SELECT t.*, d.institution AS debit_institution, d.opened_by AS debit_opened_by,
       c.institution AS credit_institution, c.opened_by AS credit_opened_by
FROM (
  SELECT id, kind::text, currency, amount, client, created_at_us, debit_account, credit_account,
         NULL AS reason, debit_balance_after, credit_balance_after
  FROM ledger.transfers
  UNION ALL
  SELECT id, kind::text, currency, amount, client, created_at_us, debit_account, credit_account,
         reason, NULL, NULL
  FROM ledger.declines
) AS t
JOIN ledger.accounts AS d ON d.id = t.debit_account
JOIN ledger.accounts AS c ON c.id = t.credit_account
"""

NONE_MOVED = ("HOLD", "RELEASE")


class Side(NamedTuple):
    account: int
    institution: str
    opened_by: str
    balance_after: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """A transfer, or a decline with its reason."""

    id: int
    kind: str
    currency: str
    amount: int
    client: str
    at_us: int
    debit: Side
    credit: Side
    reason: str | None

    @property
    def moved(self) -> bool:
        return self.reason is None and self.kind not in NONE_MOVED


@dataclass(frozen=True, slots=True)
class Reader:
    """What a client's READ grants cover."""

    client: str
    all: bool = False
    own: bool = False
    institutions: tuple[str, ...] = ()

    def reads(self, side: Side) -> bool:
        return (
            self.all
            or (self.own and side.opened_by == self.client)
            or side.institution in self.institutions
        )

    def sees(self, row: Row) -> bool:
        return row.client == self.client or self.reads(row.debit) or self.reads(row.credit)

    def sees_as_payer(self, row: Row) -> bool:
        return row.client == self.client or self.reads(row.debit)


@dataclass(frozen=True, slots=True)
class Time:
    """[start, end) in microseconds; None leaves a side open."""

    start_us: int | None
    end_us: int | None

    def holds(self, row: Row) -> bool:
        after = self.start_us is None or row.at_us >= self.start_us
        return after and (self.end_us is None or row.at_us < self.end_us)


async def ledger_rows(dsn: str) -> list[Row]:
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetch(ROWS)
    finally:
        await connection.close()

    def side(row: asyncpg.Record, name: str) -> Side:
        return Side(
            row[f"{name}_account"],
            row[f"{name}_institution"],
            row[f"{name}_opened_by"],
            row[f"{name}_balance_after"],
        )

    return [
        Row(
            row["id"],
            row["kind"],
            row["currency"],
            row["amount"],
            row["client"],
            row["created_at_us"],
            side(row, "debit"),
            side(row, "credit"),
            row["reason"],
        )
        for row in found
    ]


Totals = list[tuple[Any, ...]]


def grouped(rows: Iterable[Row], key: Callable[[Row], tuple[Any, ...]]) -> Totals:
    """(*key, count, sum) in the order of the keys."""
    totals: dict[tuple[Any, ...], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in rows:
        count, total = totals[key(row)]
        totals[key(row)] = (count + 1, total + row.amount)
    return sorted((*key, *figures) for key, figures in totals.items())


def begun(row: Row, interval_us: int) -> int:
    return row.at_us // interval_us * interval_us


def volume(rows: Iterable[Row], interval_us: int) -> Totals:
    """(start, currency, kind, count, sum)."""
    return grouped(
        (row for row in rows if row.moved),
        lambda row: (begun(row, interval_us), row.currency, row.kind),
    )


def kinds(rows: Iterable[Row]) -> Totals:
    """(currency, kind, count, sum)."""
    return grouped((row for row in rows if row.moved), lambda row: (row.currency, row.kind))


def flows(rows: Iterable[Row]) -> Totals:
    """(currency, from, to, count, sum)."""
    return grouped(
        (row for row in rows if row.moved),
        lambda row: (row.currency, row.debit.institution, row.credit.institution),
    )


def positions(rows: Iterable[Row]) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """(currency, institution) to (paid, received, net, within)."""
    found: dict[tuple[str, str], tuple[int, int, int, int]] = defaultdict(lambda: (0, 0, 0, 0))
    for row in rows:
        if not row.moved:
            continue
        if row.debit.institution == row.credit.institution:
            paid, received, net, within = found[row.currency, row.debit.institution]
            found[row.currency, row.debit.institution] = (paid, received, net, within + row.amount)
            continue
        paid, received, net, within = found[row.currency, row.debit.institution]
        found[row.currency, row.debit.institution] = (
            paid + row.amount, received, net - row.amount, within,
        )  # fmt: skip
        paid, received, net, within = found[row.currency, row.credit.institution]
        found[row.currency, row.credit.institution] = (
            paid, received + row.amount, net + row.amount, within,
        )  # fmt: skip
    return dict(found)


class Activity(NamedTuple):
    """Buckets are (start, credits, credited, debits, debited, closing)."""

    opening: int
    buckets: list[tuple[int, int, int, int, int, int]]
    closing: int


def activity(rows: Sequence[Row], account: int, time: Time, interval_us: int) -> Activity:
    """By the balances that the transfers themselves tell, not by adding up."""

    def balance_after(row: Row) -> int:
        side = row.debit if row.debit.account == account else row.credit
        assert side.balance_after is not None
        return side.balance_after

    own = sorted(
        (row for row in rows if row.moved and account in (row.debit.account, row.credit.account)),
        key=lambda row: row.at_us,
    )
    before = [row for row in own if time.start_us is not None and row.at_us < time.start_us]
    within = [row for row in own if time.holds(row)]
    opening = balance_after(before[-1]) if before else 0
    buckets = []
    for start_us in sorted({begun(row, interval_us) for row in within}):
        some = [row for row in within if begun(row, interval_us) == start_us]
        received = [row.amount for row in some if row.credit.account == account]
        sent = [row.amount for row in some if row.debit.account == account]
        buckets.append(
            (
                start_us,
                len(received),
                sum(received),
                len(sent),
                sum(sent),
                balance_after(some[-1]),
            )
        )
    return Activity(opening, buckets, buckets[-1][-1] if buckets else opening)


def declines(rows: Iterable[Row], interval_us: int | None) -> tuple[Totals, Totals]:
    """(start, currency, kind, reason, count, sum) and, of what was posted, (start, currency, kind,
    count, sum); the start is 0 without an interval."""
    rows = list(rows)

    def start(row: Row) -> int:
        return 0 if interval_us is None else begun(row, interval_us)

    return (
        grouped(
            (row for row in rows if row.reason is not None),
            lambda row: (start(row), row.currency, row.kind, row.reason),
        ),
        grouped(
            (row for row in rows if row.reason is None),
            lambda row: (start(row), row.currency, row.kind),
        ),
    )


def counterparties(rows: Iterable[Row], account: int) -> list[tuple[int, int, int, int]]:
    """(account, count, sent, received), most money first."""
    totals: dict[int, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for row in rows:
        if not row.moved or account not in (row.debit.account, row.credit.account):
            continue
        sends = row.debit.account == account
        other = row.credit.account if sends else row.debit.account
        count, sent, received = totals[other]
        totals[other] = (
            count + 1,
            sent + (row.amount if sends else 0),
            received + (0 if sends else row.amount),
        )
    found = [(other, *figures) for other, figures in totals.items()]
    return sorted(found, key=lambda one: (-(one[2] + one[3]), one[0]))
