"""What analytics tell callers. Sums are exact, in minor units, and may exceed int64."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from paycore.client.model import Freshness
from paycore.domain.transfers import TransferKind


@dataclass(frozen=True, slots=True)
class KindTotal:
    """What moved of one kind and currency."""

    currency: str
    kind: TransferKind
    count: int
    total: int


@dataclass(frozen=True, slots=True)
class KindBreakdown:
    """By currency, kind; HOLD and RELEASE move nothing and are left out."""

    totals: tuple[KindTotal, ...]
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class InstitutionFlow:
    """What moved from accounts of one institution to accounts of another, or of the same one."""

    currency: str
    from_institution: str
    to_institution: str
    count: int
    total: int


@dataclass(frozen=True, slots=True)
class InstitutionPosition:
    """What one institution paid to others and received from them.

    `net` is received - paid; `within` moved between its own accounts and is no part of the others.
    """

    currency: str
    institution: str
    paid: int
    received: int
    net: int
    within: int


@dataclass(frozen=True, slots=True)
class InstitutionPositions:
    """Flows by currency, payer, payee; positions by currency, institution. Nets add up to zero."""

    flows: tuple[InstitutionFlow, ...]
    positions: tuple[InstitutionPosition, ...]
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class ActivityBucket:
    """What an account was credited and debited in one interval, and its balance after it."""

    start: datetime
    credit_count: int
    credit_total: int
    debit_count: int
    debit_total: int
    closing_balance: int


@dataclass(frozen=True, slots=True)
class AccountActivity:
    """Buckets by time; intervals without transfers are left out, and the balance stays."""

    currency: str
    opening_balance: int
    buckets: tuple[ActivityBucket, ...]
    total: ActivityBucket
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class DeclineTotal:
    """Payments declined for one reason; `total` is what they asked for."""

    start: datetime | None
    currency: str
    kind: TransferKind
    reason: str
    count: int
    total: int


@dataclass(frozen=True, slots=True)
class PostedTotal:
    """What was posted of the same payers; HOLD and RELEASE are counted too."""

    start: datetime | None
    currency: str
    kind: TransferKind
    count: int
    total: int


@dataclass(frozen=True, slots=True)
class DeclineStatistics:
    """Both by time, currency, kind; declines then by reason."""

    declines: tuple[DeclineTotal, ...]
    posted: tuple[PostedTotal, ...]
    freshness: Freshness

    def rate(self, currency: str, kind: TransferKind) -> float | None:
        """Which share of such payments was declined; None where nobody asked for any."""
        declined, posted = (
            sum(each.count for each in some if (each.currency, each.kind) == (currency, kind))
            for some in (self.declines, self.posted)
        )
        return declined / (declined + posted) if declined or posted else None


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Over the transactions of the last `window` before `end`: percentiles at most a tenth too
    high, and the exact maximum."""

    count: int
    p50: timedelta
    p95: timedelta
    p99: timedelta
    max: timedelta
    window: timedelta
    end: datetime


@dataclass(frozen=True, slots=True)
class SinkLatency:
    """How far a sink is behind the ledger; None where it has not said."""

    sink: str
    position: str
    lag: timedelta | None
    recent: LatencySummary | None


@dataclass(frozen=True, slots=True)
class ProjectionLatency:
    """One for each sink that tells."""

    sinks: tuple[SinkLatency, ...]
    freshness: Freshness
