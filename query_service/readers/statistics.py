"""What analytics are asked for, and what they return.

Amounts are minor units of the record's currency, exact at any size; times are [start, end) in
microseconds, None leaving that side open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from paycore.domain.accounts import AccountId
from paycore.domain.money import Currency, Minor
from paycore.domain.position import Position
from paycore.domain.transfers import TransferKind


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time, and the currency to keep to, None for all."""

    start_us: int | None
    end_us: int | None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class ActivityFilter:
    """What moved on `account`, in intervals aligned to UTC."""

    account: AccountId
    start_us: int
    end_us: int
    interval_s: int


@dataclass(frozen=True, slots=True)
class DeclineFilter:
    """Payments that `payer` was to make and `client` asked for; None for any.

    Without `interval_s` all of the time is one bucket.
    """

    stretch: Stretch
    payer: AccountId | None = None
    client: str | None = None
    interval_s: int | None = None


class KindTotal(NamedTuple):
    """Transfers of one kind and currency."""

    currency: Currency
    kind: TransferKind
    transfers: int
    total: int


class InstitutionFlow(NamedTuple):
    """What moved from accounts of one institution to accounts of another, or of the same."""

    currency: Currency
    payer: str
    payee: str
    transfers: int
    total: int


class ActivityBucket(NamedTuple):
    """What an account was credited and debited in one interval, and its balance after it."""

    start_us: int
    credits: int
    credited: int
    debits: int
    debited: int
    closing: Minor


@dataclass(frozen=True, slots=True)
class Activity:
    """`opening` plus what was credited, minus what was debited, is the last bucket's `closing`."""

    opening: Minor
    buckets: list[ActivityBucket]


class DeclineTotal(NamedTuple):
    """Payments that were declined for one reason; `total` is what they asked for."""

    start_us: int | None
    currency: Currency
    kind: TransferKind
    reason: str
    declines: int
    total: int


class PostedTotal(NamedTuple):
    """Transfers that were posted."""

    start_us: int | None
    currency: Currency
    kind: TransferKind
    transfers: int
    total: int


@dataclass(frozen=True, slots=True)
class DeclineStatistics:
    """Each list is in the order of its fields."""

    declines: list[DeclineTotal]
    posted: list[PostedTotal]


class LatencySummary(NamedTuple):
    """Percentiles over the transactions of the last `window_us` before `end_us`."""

    transactions: int
    p50_us: int
    p95_us: int
    p99_us: int
    max_us: int
    window_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class SinkLatency:
    """How far a sink is; `source_time_us` is when that was so of the ledger, None for never."""

    sink: str
    position: Position
    source_time_us: int | None
    recent: LatencySummary | None
