"""Holds a generation of the index against the ledger, and mends what differs.

First counts and exact sums by day, currency, kind and state. Only days that differ are then walked
document by document, and so are the accounts. The feed goes on meanwhile: a difference counts only
once it is still there after the feed has passed the place where the journal ended when it was seen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import asyncpg
from elasticsearch import AsyncElasticsearch

import database
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import TransferKind, TransferState, first_state
from paycore.runtime.index_totals import Group, Sum, day_totals
from projector.batch import Document, DocumentKind
from projector.documents import account_document
from projector.loader import Loader
from projector.sinks.elastic_layout import DAY_US, Layout

SLICE = 50_000
"""Transfers that one statement adds up."""

PAGE = 1_000
"""Documents that are compared at a time."""

TOLD = 20
"""Documents of a report that are named."""

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1

Reach = Callable[[], Awaitable[None]]
"""Returns once everything that is in the ledger when it is called can be searched."""


@dataclass(slots=True)
class Report:
    """What was compared and found. The lists are of ids, at most TOLD each."""

    groups: int = 0
    days: int = 0
    """That differed."""
    compared: int = 0
    found: Counter[str] = field(default_factory=Counter)
    """How many are missing, extra, different."""
    told: dict[str, list[str]] = field(default_factory=dict)
    repaired: int = 0

    @property
    def clean(self) -> bool:
        """Whether index and ledger were equal."""
        return not self.found

    def note(self, what: str, of: Iterable[str]) -> None:
        """Add to what was found."""
        for name in of:
            self.found[what] += 1
            told = self.told.setdefault(what, [])
            if len(told) < TOLD:
                told.append(name)

    def __str__(self) -> str:
        if self.clean:
            return f"equal: {self.groups} sums, {self.compared} documents compared one by one"
        numbers = ", ".join(f"{count} {what}" for what, count in sorted(self.found.items()))
        names = "; ".join(f"{what}: {', '.join(of)}" for what, of in sorted(self.told.items()))
        return f"{self.days} days differed: {numbers}; repaired {self.repaired} ({names})"


class Slice(NamedTuple):
    """A stretch of transfers by id, and the days that they are of."""

    low: int
    high: int
    days: frozenset[int]


@dataclass(frozen=True, slots=True)
class Difference:
    """One document that is not as it should be."""

    kind: DocumentKind
    id: int
    document: Document | None
    """As it should be; None where there should be none."""
    index: str = ""
    """Where one stands that should not."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One check of one generation. `connection` is its own meanwhile."""

    connection: asyncpg.Connection
    client: AsyncElasticsearch
    loader: Loader
    layout: Layout
    from_us: int
    """Of what was recorded before, nothing is kept in the index."""
    before_us: int
    """What is recorded from then on is left to the next check: it still moves."""
    reach: Reach
    queries: Any = field(default_factory=lambda: database.load("drift"))
    generations: Any = field(default_factory=lambda: database.load("generations"))
    projector: Any = field(default_factory=lambda: database.load("projector"))

    async def run(self, report: Report, *, every_day: bool = False) -> list[Difference]:
        """Everything that differs, as it should be. Raises what the stores raise."""
        await self.reach()
        due, slices = await self._ledger_totals()
        index = self.layout.searched(DocumentKind.TRANSFER)
        there = await day_totals(self.client, index, self.from_us, self.before_us)
        report.groups += len(due)
        days = {group.day for group in due.keys() | there.keys()}
        if not every_day:
            days = {
                group.day
                for group in due.keys() | there.keys()
                if due.get(group) != there.get(group)
            }
        report.days += len(days)
        differences: list[Difference] = []
        for day in sorted(days):
            differences += await self._day(day, slices, report)
        differences += await self._accounts(report)
        return differences

    async def still(self, differences: Sequence[Difference]) -> int:
        """How many of `differences` that are to be there are not as they should be."""
        left = 0
        for kind in DocumentKind:
            ids = [one.id for one in differences if one.kind is kind and one.document is not None]
            for begin in range(0, len(ids), PAGE):
                page = ids[begin : begin + PAGE]
                left += len(await self._differing(kind, page, arrived=True))
        return left

    async def _ledger_totals(self) -> tuple[dict[Group, Sum], list[Slice]]:
        items: Counter[Group] = Counter()
        sums: Counter[Group] = Counter()
        window = {"from_us": self.from_us, "before_us": self.before_us}

        def add(row: Mapping[str, Any], state: str, sign: int = 1) -> None:
            group = Group(row["day"], row["currency"], row["kind"], state)
            items[group] += sign * row["items"]
            sums[group] += sign * int(row["total"])

        slices: list[Slice] = []
        low: int | None = _LOWEST
        while low is not None:
            end = await self.queries.slice_end(self.connection, low=low, most=SLICE)
            bounds = {"low": low, "high": _HIGHEST if end is None else end, **window}
            rows = await self.queries.day_totals(self.connection, **bounds)
            days = frozenset(row["day"] for row in rows)
            slices.append(Slice(low, bounds["high"], days))
            for row in rows:
                add(row, first_state(TransferKind(row["kind"])).value)
            for row in await self.queries.day_moves(self.connection, **bounds):
                add(row, first_state(TransferKind(row["kind"])).value, -1)
                add(row, row["state"])
            low = end
        for row in await self.queries.day_declines(self.connection, **window):
            add(row, TransferState.FAILED.value)
        totals = {group: Sum(count, sums[group]) for group, count in items.items() if count}
        return totals, slices

    async def _day(self, day: int, slices: Sequence[Slice], report: Report) -> list[Difference]:
        window = {
            "from_us": max(self.from_us, day * DAY_US),
            "before_us": min(self.before_us, (day + 1) * DAY_US),
        }
        found: list[Difference] = []
        for part in slices:
            if day in part.days:
                rows = await self.queries.transfers_of_day(
                    self.connection, low=part.low, high=part.high, **window
                )
                ids = [row["id"] for row in rows]
                for begin in range(0, len(ids), PAGE):
                    page = ids[begin : begin + PAGE]
                    found += await self._compare(DocumentKind.TRANSFER, page, report)
        after_id: int | None = _LOWEST
        while after_id is not None:
            rows = await self.queries.declines_of_day(
                self.connection, after_id=after_id, most=PAGE, **window
            )
            ids = [row["id"] for row in rows]
            found += await self._compare(DocumentKind.TRANSFER, ids, report)
            after_id = ids[-1] if len(ids) == PAGE else None
        return found + await self._extra(DocumentKind.TRANSFER, report, window)

    async def _accounts(self, report: Report) -> list[Difference]:
        found: list[Difference] = []
        after_id: int | None = _LOWEST
        while after_id is not None:
            rows = await self.generations.next_accounts(
                self.connection, after_id=after_id, until_id=_HIGHEST, most=PAGE
            )
            ids = [row["id"] for row in rows]
            found += await self._compare(DocumentKind.ACCOUNT, ids, report)
            after_id = ids[-1] if len(ids) == PAGE else None
        return found + await self._extra(DocumentKind.ACCOUNT, report, None)

    async def _compare(
        self, kind: DocumentKind, ids: Sequence[int], report: Report
    ) -> list[Difference]:
        if not ids:
            return []
        report.compared += len(ids)
        suspects = await self._differing(kind, ids)
        if suspects:
            # What was posted meanwhile may be on its way: look again when it has arrived.
            ids = [document.id for document, _ in suspects]
            suspects = await self._differing(kind, ids, arrived=True)
        missing = [document for document, there in suspects if there is None]
        report.note(f"missing {kind}", (str(document.id) for document in missing))
        report.note(
            f"different {kind}",
            (
                f"{document.id} ({', '.join(_fields(document, there))})"
                for document, there in suspects
                if there is not None
            ),
        )
        return [Difference(kind, document.id, document) for document, _ in suspects]

    async def _differing(
        self, kind: DocumentKind, ids: Sequence[int], *, arrived: bool = False
    ) -> list[tuple[Document, Mapping[str, Any] | None]]:
        """Documents as they should be with what is there in their place, of those that differ.

        Where what was posted until they were read has `arrived`, the index has them as they were
        then, or newer.
        """
        if kind is DocumentKind.ACCOUNT:
            rows = await self.projector.load_accounts(self.connection, ids=list(ids))
            due: Sequence[Document] = [account_document(row) for row in rows]
        else:
            due = (await self.loader.transfers_and_declines(ids)).items
        if arrived:
            await self.reach()
        there = await self._search(kind, ids)
        found: list[tuple[Document, Mapping[str, Any] | None]] = []
        for document in due:
            hit = there.get(document.id)
            if hit is None:
                found.append((document, None))
                continue
            content = json.loads(document.body)
            if content.get("details_state") == Unreadable.UNAVAILABLE:
                # Its key cannot be had now, and could be when it was written.
                continue
            if hit["_version"] <= document.version and hit["_source"] != content:
                found.append((document, hit["_source"]))
        return found

    async def _search(self, kind: DocumentKind, ids: Sequence[int]) -> dict[int, Any]:
        reply = await self.client.search(
            index=self.layout.searched(kind),
            size=len(ids) + 1,
            version=True,
            allow_partial_search_results=False,
            track_total_hits=False,
            query={"ids": {"values": [str(key) for key in ids]}},
        )
        return {int(hit["_id"]): hit for hit in reply["hits"]["hits"]}

    async def _extra(
        self, kind: DocumentKind, report: Report, window: Mapping[str, int] | None
    ) -> list[Difference]:
        """Documents that nothing in the ledger stands for, or that stand in a second index too."""
        query: dict[str, Any] = {"match_all": {}}
        sort: list[Any] = [{"id": "asc"}]
        if window is not None:
            created = {"gte": window["from_us"], "lt": window["before_us"]}
            query = {"range": {"created_at_us": created}}
            sort = [{"created_at_us": "asc"}, {"id": "asc"}]
        found: list[Difference] = []
        after: list[Any] | None = None
        while True:
            reply = await self.client.search(
                index=self.layout.searched(kind),
                size=PAGE,
                source=False,
                allow_partial_search_results=False,
                track_total_hits=False,
                query=query,
                sort=sort,
                search_after=after,
            )
            hits = reply["hits"]["hits"]
            known = await self._known(kind, [int(hit["_id"]) for hit in hits])
            found += [
                Difference(kind, int(hit["_id"]), None, hit["_index"])
                for hit in hits
                if int(hit["_id"]) not in known
            ]
            if len(hits) < PAGE:
                break
            after = hits[-1]["sort"]
        report.note(f"extra {kind}", (str(difference.id) for difference in found))
        return found

    async def _known(self, kind: DocumentKind, ids: Sequence[int]) -> set[int]:
        if not ids:
            return set()
        known = getattr(self.queries, f"known_{kind.value}")
        return {row["id"] for row in await known(self.connection, ids=list(ids))}


def _fields(document: Document, there: Mapping[str, Any]) -> list[str]:
    """Names of the fields that differ: no values, for they may be personal."""
    due = json.loads(document.body)
    return sorted(name for name in due.keys() | there.keys() if due.get(name) != there.get(name))
