"""Searching on Elasticsearch. No text of a caller's is read as a query: words are matched as they
are, and keys and values of metadata are compared.
"""

from __future__ import annotations

from paycore.domain.transfers import TransferState
from query_service.positions import PositionTracker
from query_service.readers.elastic import documents
from query_service.readers.elastic.connection import Connection
from query_service.readers.elastic.reader import SOURCE
from query_service.readers.elastic.requests import Body
from query_service.readers.port import Answer, Freshness, PageKey, ReadTerms, Viewer
from query_service.readers.search_port import MAX_TOTAL, Found, SearchFilter, Total

SHORTEST_BEGINNING = 3
"""Characters from which on the last word may be the beginning of one: shorter ones begin too many
words."""

_TEXTS = ("description", "reference.text")
_DECLINED: Body = {"term": {"state": TransferState.FAILED.value}}


class ElasticSearcher:
    """Implements Searcher."""

    def __init__(self, connection: Connection, positions: PositionTracker, prefix: str) -> None:
        self._connection = connection
        self._positions = positions
        self._transfers = f"{prefix}-transfers"

    async def search(
        self,
        wanted: SearchFilter,
        viewer: Viewer,
        after: PageKey | None,
        limit: int,
        terms: ReadTerms,
        *,
        with_total: bool,
    ) -> Answer[Found]:
        """See Searcher."""
        if terms.min_position is not None:
            await self._positions.reach(terms.min_position, terms.deadline_s)
        # Taken before the query: what was searchable then is in any later answer.
        seen = self._positions.seen
        freshness = Freshness(
            SOURCE, None if seen is None else seen.position, self._positions.lag_us()
        )
        body = request(wanted, viewer, after, limit, with_total=with_total)
        hits = (await self._connection.search(self._transfers, body, terms.deadline_s))["hits"]
        total = None
        if with_total:
            total = Total(hits["total"]["value"], hits["total"]["relation"] != "eq")
        found = [documents.transfer(hit["_source"]) for hit in hits["hits"]]
        return Answer(Found(found, total), freshness)


def request(
    wanted: SearchFilter,
    viewer: Viewer,
    after: PageKey | None,
    limit: int,
    *,
    with_total: bool,
) -> Body:
    """The body of the search for one page."""
    body: Body = {
        "size": limit,
        "query": {"bool": {"filter": _filters(wanted, viewer)}},
        "sort": [{"created_at_us": "desc"}, {"id": "desc"}],
        "track_total_hits": MAX_TOTAL if with_total else False,
    }
    if after is not None:
        body["search_after"] = list(after)
    return body


def _filters(wanted: SearchFilter, viewer: Viewer) -> list[Body]:
    filters = [*_visible(viewer), *_words(wanted.words)]
    if not wanted.include_declines:
        filters.append({"bool": {"must_not": [_DECLINED]}})
    if wanted.metadata:
        filters += _payers(viewer)
        filters += [{"term": {f"metadata.{key}": value}} for key, value in wanted.metadata]
    for account in (wanted.account, wanted.counterparty):
        if account is not None:
            filters.append({"term": {"accounts": account}})
    if wanted.kinds:
        filters.append({"terms": {"kind": sorted(wanted.kinds)}})
    if wanted.currency is not None:
        filters.append({"term": {"currency": wanted.currency}})
    filters += _between("amount", gte=wanted.min_amount, lte=wanted.max_amount)
    filters += _between("created_at_us", gte=wanted.start_us, lt=wanted.end_us)
    return filters


def _words(words: tuple[str, ...]) -> list[Body]:
    """Each in either text. A word that the index takes for several is in it as all of them."""
    filters = []
    for place, word in enumerate(words, start=1):
        begins = place == len(words) and len(word) >= SHORTEST_BEGINNING
        match = "match_bool_prefix" if begins else "match"
        either = [{match: {text: {"query": word, "operator": "and"}}} for text in _TEXTS]
        filters.append({"bool": {"should": either}})
    return filters


def _visible(viewer: Viewer) -> list[Body]:
    """As query_service.access shows transfers; a decline is the payer's business."""
    if viewer.reach.all:
        return []
    payee: Body = {"bool": {"should": _side("credit", viewer), "must_not": [_DECLINED]}}
    received = [payee] if _side("credit", viewer) else []
    return [{"bool": {"should": [*_payers_grounds(viewer), *received]}}]


def _payers(viewer: Viewer) -> list[Body]:
    """Only those whose metadata `viewer` is shown, or it would tell by what it finds."""
    return [] if viewer.reach.all else [{"bool": {"should": _payers_grounds(viewer)}}]


def _payers_grounds(viewer: Viewer) -> list[Body]:
    return [{"term": {"client": viewer.client}}, *_side("debit", viewer)]


def _side(side: str, viewer: Viewer) -> list[Body]:
    grounds: list[Body] = []
    if viewer.reach.own:
        grounds.append({"term": {f"{side}_opened_by": viewer.client}})
    if viewer.reach.institutions:
        grounds.append({"terms": {f"{side}_institution": sorted(viewer.reach.institutions)}})
    return grounds


def _between(field: str, **bounds: int | None) -> list[Body]:
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return [{"range": {field: given}}] if given else []
