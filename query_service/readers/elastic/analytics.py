"""Analytics on Elasticsearch."""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import TransferKind
from query_service.positions import PositionTracker
from query_service.readers.elastic import documents, requests
from query_service.readers.elastic.aggregations import (
    Aggregations,
    Level,
    Part,
    Row,
    TooManyGroupsError,
    by_field,
    by_time,
)
from query_service.readers.elastic.connection import RETRY_AFTER_MS, Connection
from query_service.readers.elastic.freshness import begun, reached, told
from query_service.readers.elastic.requests import Body
from query_service.readers.ids import not_before_us
from query_service.readers.port import (
    MAX_COUNTERPARTIES,
    MAX_DECLINE_TOTALS,
    MAX_FLOWS,
    MAX_VOLUME_TOTALS,
    Answer,
    CounterpartyFilter,
    ReadTerms,
    Viewer,
    VolumeFilter,
)
from query_service.readers.records import CounterpartyTotal, VolumeTotal
from query_service.readers.statistics import (
    Activity,
    ActivityBucket,
    ActivityFilter,
    DeclineFilter,
    DeclineStatistics,
    DeclineTotal,
    InstitutionFlow,
    KindTotal,
    PostedTotal,
    SinkLatency,
    Stretch,
)

SINK = "elasticsearch"

_US_A_MS = 1_000
_ACTIVITY_ATTEMPTS = 3

CURRENCY = by_field("currency", 1_000)
KIND = by_field("kind", 64)
REASON = by_field("decline_reason", 64)
PAYER = by_field("debit_institution", MAX_FLOWS)
PAYEE = by_field("credit_institution", MAX_FLOWS)
FEW_COUNTERPARTIES = 2_000
"""So many are had in one pass over an account's transfers; more, page by page."""

_DIRECTIONS = (("debit_account", "credit_account"), ("credit_account", "debit_account"))
"""The account's own field and the other's: sent, then received."""
_SENT, _RECEIVED, _COUNT = range(3)


class ElasticAnalytics:
    """Answers from the index; implements AnalyticsReader."""

    def __init__(self, connection: Connection, positions: PositionTracker, prefix: str) -> None:
        self._connection = connection
        self._positions = positions
        self._position_index = f"{prefix}-positions"
        self._transfers = f"{prefix}-transfers"
        self._accounts = f"{prefix}-accounts"
        self._groups = Aggregations(connection, self._transfers)

    async def volume(
        self, wanted: VolumeFilter, viewer: Viewer, terms: ReadTerms
    ) -> Answer[list[VolumeTotal]]:
        """Time is the innermost division: there are few currencies and kinds, so that the buckets
        are not more than there are totals."""
        freshness = await reached(self._positions, terms)
        filters = [
            requests.POSTED if wanted.kinds else requests.MOVED,
            *requests.created(wanted.start_us, wanted.end_us),
            *requests.visible(viewer),
            *requests.of_currency(wanted.currency),
            *requests.of_kinds(wanted.kinds),
        ]
        rows = await self._at_most(
            MAX_VOLUME_TOTALS,
            "end_time",
            "buckets: ask for a shorter time, a wider interval, or one currency",
            filters,
            [Part((CURRENCY, KIND, by_time(wanted.interval_s)))],
            terms,
        )
        totals = [
            VolumeTotal(
                start * _US_A_MS, Currency(currency), TransferKind(kind), row.transfers, row.total
            )
            for row in rows[0]
            for currency, kind, start in [row.key]
        ]
        return Answer(sorted(totals), begun(freshness, self._positions))

    async def kinds(
        self, stretch: Stretch, account: AccountId | None, viewer: Viewer, terms: ReadTerms
    ) -> Answer[list[KindTotal]]:
        freshness = await reached(self._positions, terms)
        filters = [requests.MOVED, *_stretch(stretch)]
        # Who may read an account may see all that touches it.
        filters += requests.visible(viewer) if account is None else requests.touching(account)
        rows = await self._groups.rows(filters, (CURRENCY, KIND), terms.deadline_s)
        totals = [
            KindTotal(Currency(currency), TransferKind(kind), row.transfers, row.total)
            for row in rows
            for currency, kind in [row.key]
        ]
        return Answer(sorted(totals), begun(freshness, self._positions))

    async def flows(
        self, stretch: Stretch, viewer: Viewer, terms: ReadTerms
    ) -> Answer[list[InstitutionFlow]]:
        freshness = await reached(self._positions, terms)
        rows = await self._at_most(
            MAX_FLOWS,
            "currency",
            "pairs of institutions: ask for one currency or a shorter time",
            [requests.MOVED, *_stretch(stretch), *requests.visible(viewer)],
            [Part((CURRENCY, PAYER, PAYEE))],
            terms,
        )
        flows = [
            InstitutionFlow(Currency(currency), payer, payee, row.transfers, row.total)
            for row in rows[0]
            for currency, payer, payee in [row.key]
        ]
        return Answer(sorted(flows), begun(freshness, self._positions))

    async def counterparties(
        self, wanted: CounterpartyFilter, terms: ReadTerms
    ) -> Answer[list[CounterpartyTotal]]:
        """Exact: every counterparty of both directions is added up before any is left out."""
        freshness = await reached(self._positions, terms)
        totals: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        for direction, (own, other) in enumerate(_DIRECTIONS):
            filters = [
                requests.MOVED,
                {"term": {own: wanted.account}},
                *requests.created(wanted.start_us, wanted.end_us),
            ]
            async for page in self._counterparties(filters, other, terms.deadline_s):
                for row in page:
                    total = totals[row.key[0]]
                    total[direction] += row.total
                    total[_COUNT] += row.transfers
                if len(totals) > MAX_COUNTERPARTIES:
                    raise invalid_field(
                        "start_time",
                        f"more than {MAX_COUNTERPARTIES} counterparties: ask for a shorter time",
                    )
        largest = heapq.nsmallest(
            wanted.limit,
            totals.items(),
            key=lambda item: (-(item[1][_SENT] + item[1][_RECEIVED]), item[0]),
        )
        return Answer(
            [
                CounterpartyTotal(AccountId(account), number, sent, received)
                for account, (sent, received, number) in largest
            ],
            begun(freshness, self._positions),
        )

    async def activity(self, wanted: ActivityFilter, terms: ReadTerms) -> Answer[Activity]:
        """An account's time order is its version order, so its balance before and after the time
        are those of single transfers, and what moved between is checked against them.

        Two transfers of an account may be indexed in the wrong order, and a refresh may come
        between the two searches; the sums then disagree until the next one.
        """
        freshness = await reached(self._positions, terms)
        from_us = self._positions.seen_from_us
        if max(wanted.start_us, not_before_us(wanted.account)) < from_us:
            raise invalid_field(
                "start_time", f"is before {_iso(from_us)}, where what is kept begins"
            )
        for _ in range(_ACTIVITY_ATTEMPTS):
            activity = await self._activity(wanted, terms)
            if activity is not None:
                return Answer(activity, freshness)
        raise PaycoreError(
            Reason.INDEX_BEHIND,
            "the index does not hold all of this account's transfers yet",
            retry_after_ms=RETRY_AFTER_MS,
        )

    async def declines(
        self, wanted: DeclineFilter, viewer: Viewer, terms: ReadTerms
    ) -> Answer[DeclineStatistics]:
        freshness = await reached(self._positions, terms)
        filters = _stretch(wanted.stretch)
        if wanted.payer is None:
            filters += requests.payers_visible(viewer)
        else:
            filters.append({"term": {"debit_account": wanted.payer}})
        if wanted.client is not None:
            filters.append({"term": {"client": wanted.client}})
        levels: tuple[Level, ...] = (CURRENCY, KIND)
        if wanted.interval_s is not None:
            levels += (by_time(wanted.interval_s),)
        declines, posted = await self._at_most(
            MAX_DECLINE_TOTALS,
            "end_time",
            "totals: ask for a shorter time, a wider interval, or one currency",
            filters,
            [Part((*levels, REASON), requests.DECLINED), Part(levels, requests.POSTED)],
            terms,
        )
        found = DeclineStatistics(
            sorted((_decline_total(row) for row in declines), key=_in_order),
            sorted((_posted_total(row) for row in posted), key=_in_order),
        )
        return Answer(found, begun(freshness, self._positions))

    async def latencies(self, terms: ReadTerms) -> Answer[list[SinkLatency]]:
        """In real time: what the projector wrote last, whether or not it can be searched. Told
        however far behind the index is: that is the question."""
        freshness = await told(self._positions, terms)
        source = await self._connection.document(
            self._position_index, SINK, terms.deadline_s, realtime=True
        )
        found = [] if source is None else [documents.sink_latency(SINK, source)]
        return Answer(found, freshness)

    async def _at_most(
        self,
        most: int,
        field: str,
        advice: str,
        filters: list[Body],
        parts: list[Part],
        terms: ReadTerms,
    ) -> list[list[Row]]:
        """The rows of `parts`, `most` in all; INVALID_FIELD of `field` for more."""
        try:
            found = await self._groups.parts(filters, parts, terms.deadline_s)
        except TooManyGroupsError as error:
            raise invalid_field(field, f"more than {most} {advice}") from error
        if sum(map(len, found)) > most:
            raise invalid_field(field, f"more than {most} {advice}")
        return found

    async def _counterparties(self, filters: list[Body], other: str, deadline_s: float) -> Any:
        try:
            yield await self._groups.rows(
                filters, [by_field(other, FEW_COUNTERPARTIES)], deadline_s
            )
        except TooManyGroupsError:
            async for page in self._groups.pages(filters, other, deadline_s):
                yield page

    async def _activity(self, wanted: ActivityFilter, terms: ReadTerms) -> Activity | None:
        """None where what is found does not add up."""
        account = wanted.account
        filters = [requests.MOVED, *requests.touching(account)]
        within = [*filters, *requests.created(wanted.start_us, wanted.end_us)]
        time = (by_time(wanted.interval_s),)
        opening, moved, last = await asyncio.gather(
            self._balance(account, [*filters, *requests.created(None, wanted.start_us)], terms),
            self._groups.parts(
                within,
                [
                    Part(time, {"term": {"credit_account": account}}),
                    Part(time, {"term": {"debit_account": account}}),
                ],
                terms.deadline_s,
            ),
            self._balance(account, within, terms),
        )
        if opening is None:
            opening = await self._undisturbed(wanted, filters, terms)
        buckets = _running(opening, *moved)
        closing = buckets[-1].closing if buckets else None
        return Activity(opening, buckets) if closing == last else None

    async def _undisturbed(
        self, wanted: ActivityFilter, filters: list[Body], terms: ReadTerms
    ) -> Minor:
        """The balance at a beginning before which the index has no transfer: zero, unless
        retention has dropped them. Then the next transfer tells, or the account as it stands."""
        if not_before_us(wanted.account) >= self._positions.seen_from_us:
            return Minor(0)
        body = requests.next_balances([*filters, *requests.created(wanted.start_us, None)])
        hits = (await self._connection.search(self._transfers, body, terms.deadline_s))["hits"]
        for hit in hits["hits"]:
            source = hit["_source"]
            if source["debit_account"] == wanted.account:
                return Minor(source["debit_balance_after"] + source["amount"])
            return Minor(source["credit_balance_after"] - source["amount"])
        account = await self._connection.document(
            self._accounts, str(wanted.account), terms.deadline_s, realtime=False
        )
        return Minor(0) if account is None else documents.account(account).balance

    async def _balance(
        self, account: AccountId, filters: list[Body], terms: ReadTerms
    ) -> Minor | None:
        """The account's balance after the last transfer that passes `filters`."""
        body = requests.last_balances(filters)
        hits = (await self._connection.search(self._transfers, body, terms.deadline_s))["hits"]
        for hit in hits["hits"]:
            side = "debit" if hit["_source"]["debit_account"] == account else "credit"
            return Minor(hit["_source"][f"{side}_balance_after"])
        return None


def _iso(time_us: int) -> str:
    """A time as people read it, exactly."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat()


def _stretch(stretch: Stretch) -> list[Body]:
    return [
        *requests.created(stretch.start_us, stretch.end_us),
        *requests.of_currency(stretch.currency),
    ]


def _running(opening: Minor, received: list[Row], sent: list[Row]) -> list[ActivityBucket]:
    credited = {row.key[0]: row for row in received}
    debited = {row.key[0]: row for row in sent}
    buckets: list[ActivityBucket] = []
    balance: int = opening
    for start in sorted(credited.keys() | debited.keys()):
        _, credit_count, credit = credited.get(start, _NOTHING)
        _, debit_count, debit = debited.get(start, _NOTHING)
        balance += credit - debit
        buckets.append(
            ActivityBucket(
                start * _US_A_MS, credit_count, credit, debit_count, debit, Minor(balance)
            )
        )
    return buckets


_NOTHING = Row((), 0, 0)


def _decline_total(row: Row) -> DeclineTotal:
    currency, kind, *start, reason = row.key
    return DeclineTotal(
        start[0] * _US_A_MS if start else None,
        Currency(currency),
        TransferKind(kind),
        reason,
        row.transfers,
        row.total,
    )


def _posted_total(row: Row) -> PostedTotal:
    currency, kind, *start = row.key
    return PostedTotal(
        start[0] * _US_A_MS if start else None,
        Currency(currency),
        TransferKind(kind),
        row.transfers,
        row.total,
    )


def _in_order(total: DeclineTotal | PostedTotal) -> tuple[Any, ...]:
    return (total.start_us or 0, *total[1:])
