"""What the servicers need of a reader, and the terms on which they ask.

Every method may raise PaycoreError: INDEX_BEHIND when `min_position` is not reached in time, or the
index is further behind than it may be; INDEX_UNAVAILABLE or DATABASE_UNAVAILABLE when the source
does not answer in time; OVERLOADED when too much is under way; INVALID_FIELD when `min_position` is
of a history that was replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, Protocol, TypeVar

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import Reach
from paycore.domain.position import Position
from paycore.domain.transfers import TransferId, TransferKind
from query_service.readers.records import (
    AccountRecord,
    CounterpartyTotal,
    PastBalance,
    StatementPage,
    TransferRecord,
    VolumeTotal,
)
from query_service.readers.statistics import (
    Activity,
    ActivityFilter,
    DeclineFilter,
    DeclineStatistics,
    InstitutionFlow,
    KindTotal,
    SinkLatency,
    Stretch,
)

T_co = TypeVar("T_co", covariant=True)

RETRY_AFTER_MS = 500


@dataclass(frozen=True, slots=True)
class ReadTerms:
    """Until when an answer is awaited (monotonic seconds), and what it must at least include."""

    deadline_s: float
    min_position: Position | None = None
    patience_s: float | None = None
    """How long `min_position` is awaited at most; None: until shortly before the deadline."""
    tolerance_s: float | None = None
    """How far behind the ledger the index may be and answer; None: as far as its setting says."""

    def at_or_after(self, position: Position | None) -> ReadTerms:
        """The same terms, but that the answer includes at least `position` too."""
        if position is None:
            return self
        return replace(self, min_position=max(position, self.min_position or position))


@dataclass(frozen=True, slots=True)
class Freshness:
    """Everything up to `position` is in the answer; None where the source has not said yet.

    `lag_us` is the age of that position: how far the source was behind when last measured.
    """

    source: str
    position: Position | None
    lag_us: int | None
    complete_from_us: int = 0
    """From which time on the answer is whole; 0: from the beginning."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T_co]):
    """A value and how fresh it is."""

    value: T_co
    freshness: Freshness


MAX_TOTAL = 10_000
"""Counting ends here."""


class Total(NamedTuple):
    """How many match; `at_least` where counting ended before all were counted."""

    transfers: int
    at_least: bool

    @classmethod
    def of(cls, counted: int) -> Total:
        """What to tell of a count that went up to MAX_TOTAL + 1: by the one more it is known
        whether there are more."""
        return cls(min(counted, MAX_TOTAL), counted > MAX_TOTAL)


class PageKey(NamedTuple):
    """Where a transfer stands in a list. Both parts are immutable, so pages need no snapshot."""

    created_at_us: int
    id: int


@dataclass(frozen=True, slots=True)
class TransferFilter:
    """Which transfers of an account; times are [start, end) in microseconds, amounts inclusive."""

    account: AccountId
    start_us: int | None = None
    end_us: int | None = None
    kinds: frozenset[TransferKind] = frozenset()
    counterparty: AccountId | None = None
    min_amount: int | None = None
    max_amount: int | None = None
    reference: str | None = None
    include_declines: bool = False
    """Adds the stored declines of the account's debits."""


class StatementPlace(NamedTuple):
    """The entry after which a page of a statement begins, and the balance that it left."""

    version: int
    created_at_us: int
    balance: int


@dataclass(frozen=True, slots=True)
class StatementFilter:
    """Which entries of an account: times are [start, end) in microseconds."""

    account: AccountId
    start_us: int
    end_us: int
    include_holds: bool = False
    """HOLD and RELEASE too, which move nothing."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, and which accounts that client reaches with READ."""

    client: str
    reach: Reach


@dataclass(frozen=True, slots=True)
class VolumeFilter:
    """Posted transfers in [start, end) microseconds, in intervals aligned to UTC.

    Without `kinds`, of all that move money: holds and releases only where asked for.
    """

    start_us: int
    end_us: int
    interval_s: int
    currency: str | None = None
    kinds: frozenset[TransferKind] = frozenset()


@dataclass(frozen=True, slots=True)
class CounterpartyFilter:
    """Money that `account` moved in [start, end) microseconds; the `limit` largest."""

    account: AccountId
    start_us: int | None
    end_us: int | None
    limit: int


class HistoryDroppedError(PaycoreError):
    """A source does not reach back so far as an answer must: only another can give it."""

    def __init__(self) -> None:
        super().__init__(
            Reason.INDEX_UNAVAILABLE,
            "the index has dropped history that the answer needs, and the ledger has to give it",
            retry_after_ms=RETRY_AFTER_MS,
        )


class AccountReader(Protocol):
    """Finds an account."""

    async def account(
        self, account: AccountId, terms: ReadTerms
    ) -> Answer[AccountRecord | None]: ...


class HistoryReader(AccountReader, Protocol):
    """Answers what happened. Visibility is the caller's business."""

    async def transfer(
        self, transfer: TransferId, terms: ReadTerms
    ) -> Answer[TransferRecord | None]: ...

    async def transfers(
        self, wanted: TransferFilter, after: PageKey | None, limit: int, terms: ReadTerms
    ) -> Answer[list[TransferRecord]]:
        """At most `limit` transfers below `after`, by (created_at_us, id) descending."""
        ...

    async def total(self, wanted: TransferFilter, terms: ReadTerms) -> Answer[Total]:
        """How many transfers the whole list has; counting ends at MAX_TOTAL."""
        ...

    async def balance_at(
        self, account: AccountId, at_us: int, terms: ReadTerms
    ) -> Answer[PastBalance]:
        """The figures after the last entry at or before `at_us`."""
        ...

    async def statement(
        self, wanted: StatementFilter, after: StatementPlace | None, limit: int, terms: ReadTerms
    ) -> Answer[StatementPage]:
        """At most `limit` entries behind `after`, or from the start, by version ascending."""
        ...


class AnalyticsReader(Protocol):
    """Answers how much, exactly.

    Whoever asks by account must know that its caller may read the account.
    """

    async def volume(
        self, wanted: VolumeFilter, viewer: Viewer, terms: ReadTerms
    ) -> Answer[list[VolumeTotal]]:
        """Totals over what `viewer` may see, by (start, currency, kind); empty ones left out.

        Raises INVALID_FIELD when there are more than MAX_VOLUME_TOTALS.
        """
        ...

    async def counterparties(
        self, wanted: CounterpartyFilter, terms: ReadTerms
    ) -> Answer[list[CounterpartyTotal]]:
        """The other accounts by sent + received descending, then by id.

        Raises INVALID_FIELD when the account has more than MAX_COUNTERPARTIES in the time asked.
        """
        ...

    async def kinds(
        self, stretch: Stretch, account: AccountId | None, viewer: Viewer, terms: ReadTerms
    ) -> Answer[list[KindTotal]]:
        """Totals of what moved, by (currency, kind): of `account`, or of what `viewer` may see."""
        ...

    async def flows(
        self, stretch: Stretch, viewer: Viewer, terms: ReadTerms
    ) -> Answer[list[InstitutionFlow]]:
        """What moved from institution to institution, by (currency, payer, payee).

        Raises INVALID_FIELD when there are more than MAX_FLOWS.
        """
        ...

    async def activity(self, wanted: ActivityFilter, terms: ReadTerms) -> Answer[Activity]:
        """What an account was credited and debited, with its balances.

        Raises INDEX_BEHIND where they do not add up, because transfers are missing as yet.
        """
        ...

    async def declines(
        self, wanted: DeclineFilter, viewer: Viewer, terms: ReadTerms
    ) -> Answer[DeclineStatistics]:
        """Declines and what was posted, of a payer, or of what `viewer` sees as the payer's side.

        Raises INVALID_FIELD when there are more than MAX_DECLINE_TOTALS.
        """
        ...

    async def latencies(self, terms: ReadTerms) -> Answer[list[SinkLatency]]:
        """How far each sink is that tells, and how late it was lately."""
        ...


MAX_VOLUME_TOTALS = 20_000
MAX_FLOWS = 20_000
MAX_DECLINE_TOTALS = 20_000
MAX_COUNTERPARTIES = 50_000
