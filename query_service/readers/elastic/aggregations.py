"""Counts and exact sums of groups of transfers.

Elasticsearch sums in doubles, which hold every integer below 2**53. Amounts are positive, so a sum
that it gives as below 2**52 never left that range and is exact; where one is larger, the same is
asked again in limbs (`paycore.domain.limbs`). One column is read instead of three that way.

A group that is left out is money that is lost, so every answer is checked: all of the transfers
that were found are in its groups.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from elasticsearch import ApiError

from paycore.domain.limbs import LIMB_FIELDS, join
from query_service.readers.elastic.connection import Connection

Body: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[Any, ...]

BUCKETS_A_PAGE = 2_000
"""Small enough that reading one page holds up other calls by a few milliseconds only."""

EXACT_BELOW = 2.0**52

_SUM: Body = {"sum": {"sum": {"field": "amount"}}}
_LIMB_SUMS: Body = {limb: {"sum": {"field": limb}} for limb in LIMB_FIELDS}

_BAD_REQUEST = 400
_TOO_MANY_BUCKETS = "too_many_buckets_exception"


class Level(NamedTuple):
    """One way of dividing transfers: each belongs to one group."""

    name: str
    body: Body


def by_field(field: str, most: int) -> Level:
    """A group for each value of `field`; TooManyGroupsError for more than `most`."""
    return Level(field, {"terms": {"field": field, "size": most}})


def by_time(interval_s: int) -> Level:
    """A group for each interval in which there is something; its key is in milliseconds."""
    return Level(
        "start",
        {
            "date_histogram": {
                "field": "created_at",
                "fixed_interval": f"{interval_s}s",
                "min_doc_count": 1,
            }
        },
    )


@dataclass(frozen=True, slots=True)
class Part:
    """Transfers divided by at least one level; `only` leaves some of them out."""

    levels: Sequence[Level]
    only: Body | None = None


class Row(NamedTuple):
    """One group: a key for each level, and what is in it."""

    key: Key
    transfers: int
    total: int


class TooManyGroupsError(Exception):
    """More groups than may be asked for at once."""


class IncompleteGroupsError(Exception):
    """Transfers that are in no group: a defect of the index."""


class Aggregations:
    """Asks one index."""

    def __init__(self, connection: Connection, index: str) -> None:
        self._connection = connection
        self._index = index

    async def rows(
        self, filters: Sequence[Body], levels: Sequence[Level], deadline_s: float
    ) -> list[Row]:
        """Every group of the transfers that pass `filters`. Raises as `parts` does."""
        [found] = await self.parts(filters, [Part(levels)], deadline_s)
        return found

    async def parts(
        self, filters: Sequence[Body], parts: Sequence[Part], deadline_s: float
    ) -> list[list[Row]]:
        """Every group of each part, all as of one refresh.

        Raises TooManyGroupsError, IncompleteGroupsError, and PaycoreError as Connection.search.
        """

        async def ask(sums: Body) -> list[list[Row]] | None:
            body = _search(
                filters, {str(at): _divided(part, sums) for at, part in enumerate(parts)}
            )
            return read_parts(parts, await self._ask(body, deadline_s))

        return await _exactly(ask)

    async def pages(
        self, filters: Sequence[Body], field: str, deadline_s: float
    ) -> AsyncIterator[list[Row]]:
        """The group of each value of `field`, however many, page by page in order.

        Each page goes through all transfers again, so `rows` is to be preferred where it can.
        """
        after: Mapping[str, Any] | None = None
        while True:
            page, after = await self._page(filters, field, after, deadline_s)
            yield page
            if after is None or len(page) < BUCKETS_A_PAGE:
                return

    async def _page(
        self,
        filters: Sequence[Body],
        field: str,
        after: Mapping[str, Any] | None,
        deadline_s: float,
    ) -> tuple[list[Row], Mapping[str, Any] | None]:
        # A missing value is asked for, so that it is seen and not passed over.
        source = {field: {"terms": {"field": field, "missing_bucket": True}}}
        composite: Body = {"size": BUCKETS_A_PAGE, "sources": [source]}
        if after is not None:
            composite["after"] = after
        after_key: Mapping[str, Any] | None = None

        async def ask(sums: Body) -> list[list[Row]] | None:
            nonlocal after_key
            body = _search(filters, {"0": {"composite": composite, "aggs": sums}})
            found = (await self._ask(body, deadline_s))["aggregations"]["0"]
            after_key = found.get("after_key")
            rows = [
                _row((bucket["key"][field],), bucket["doc_count"], bucket)
                for bucket in found["buckets"]
            ]
            if any(row is not None and row.key == (None,) for row in rows):
                raise IncompleteGroupsError(f"transfers without {field}")
            return _all_exact([rows])

        [page] = await _exactly(ask)
        return page, after_key

    async def _ask(self, body: Body, deadline_s: float) -> Any:
        try:
            return await self._connection.search(self._index, body, deadline_s)
        except ApiError as error:
            if error.meta.status == _BAD_REQUEST and _TOO_MANY_BUCKETS in str(error.body):
                raise TooManyGroupsError from error
            raise


def read_parts(parts: Sequence[Part], reply: Mapping[str, Any]) -> list[list[Row]] | None:
    """The groups of each part in `reply`; None where a sum may have been rounded.

    Raises TooManyGroupsError or IncompleteGroupsError.
    """
    found = reply["hits"]["total"]["value"]
    return _all_exact(
        [
            _rows_of_part(part, reply["aggregations"][str(at)], found)
            for at, part in enumerate(parts)
        ]
    )


async def _exactly(ask: Callable[[Body], Any]) -> list[list[Row]]:
    found = await ask(_SUM)
    if found is None:
        found = await ask(_LIMB_SUMS)
    rows: list[list[Row]] = found
    return rows


def _search(filters: Sequence[Body], aggregations: Body) -> Body:
    return {
        "size": 0,
        "query": {"bool": {"filter": list(filters)}},
        "track_total_hits": True,
        "aggs": aggregations,
    }


def _divided(part: Part, sums: Body) -> Body:
    aggregations = sums
    for level in reversed(part.levels):
        aggregations = {level.name: {**level.body, "aggs": aggregations}}
    if part.only is not None:
        return {"filter": part.only, "aggs": aggregations}
    [whole] = aggregations.values()
    body: Body = whole
    return body


def _rows_of_part(part: Part, answer: Mapping[str, Any], found: int) -> list[Row | None]:
    if part.only is None:
        answer = {"doc_count": found, part.levels[0].name: answer}
    return list(_leaves(part.levels, answer, ()))


def _leaves(levels: Sequence[Level], parent: Mapping[str, Any], key: Key) -> Iterator[Row | None]:
    """The rows below `parent`; None for one whose sum may not be exact."""
    if not levels:
        yield _row(key, parent["doc_count"], parent)
        return
    groups = parent[levels[0].name]
    if groups.get("sum_other_doc_count", 0):
        raise TooManyGroupsError(f"more groups by {levels[0].name} than were asked for")
    divided = 0
    for bucket in groups["buckets"]:
        divided += bucket["doc_count"]
        yield from _leaves(levels[1:], bucket, (*key, bucket["key"]))
    if divided != parent["doc_count"]:
        raise IncompleteGroupsError(
            f"{divided} of {parent['doc_count']} transfers have {levels[0].name}"
        )


def _row(key: Key, transfers: int, bucket: Mapping[str, Any]) -> Row | None:
    if "sum" not in bucket:
        return Row(key, transfers, join(bucket[limb]["value"] for limb in LIMB_FIELDS))
    total = bucket["sum"]["value"]
    return Row(key, transfers, int(total)) if total < EXACT_BELOW else None


def _all_exact(parts: Sequence[Sequence[Row | None]]) -> list[list[Row]] | None:
    exact = [[row for row in rows if row is not None] for rows in parts]
    complete = all(len(some) == len(rows) for some, rows in zip(exact, parts, strict=True))
    return exact if complete else None
