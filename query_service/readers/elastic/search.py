"""Searching on Elasticsearch. No text of a caller's is read as a query: words are matched as they
are, and keys and values of metadata are compared.
"""

from __future__ import annotations

import unicodedata
from dataclasses import replace

from query_service.readers.elastic import documents, requests
from query_service.readers.elastic.freshness import begun
from query_service.readers.elastic.requests import DECLINED, POSTED, Body
from query_service.readers.elastic.source import ElasticSource
from query_service.readers.port import MAX_TOTAL, Answer, PageKey, ReadTerms, Total, Viewer
from query_service.readers.search_port import Found, SearchFilter

SHORTEST_BEGINNING = 3
"""Characters from which on the last word may be the beginning of one: shorter ones begin too many
words."""

_MARKS = frozenset({"Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk"})
"""Categories of Unicode: punctuation and signs, of which no word consists."""

_TEXTS = ("description", "reference.text")


class ElasticSearcher(ElasticSource):
    """Implements Searcher."""

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
        freshness = await self._freshness(terms)
        # Before it some are missing, and others are shown as they were.
        from_us = self._positions.seen_from_us
        wanted = replace(wanted, start_us=max(wanted.start_us or 0, from_us) or None)
        body = request(wanted, viewer, after, limit, with_total=with_total)
        hits = (await self._connection.search(self._transfers, body, terms.deadline_s))["hits"]
        total = None
        if with_total:
            total = Total.of(hits["total"]["value"])
        found = [documents.transfer(hit["_source"]) for hit in hits["hits"]]
        return Answer(Found(found, total), begun(freshness, self._positions))


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
        "track_total_hits": MAX_TOTAL + 1 if with_total else False,
    }
    if after is not None:
        body["search_after"] = list(after)
    return body


def _filters(wanted: SearchFilter, viewer: Viewer) -> list[Body]:
    filters = [*_visible(viewer), *_words(wanted.words)]
    if not wanted.include_declines:
        filters.append(POSTED)
    if wanted.metadata:
        # Only those whose metadata `viewer` is shown, or it would tell by what it finds.
        filters += requests.payers_visible(viewer)
        filters += [{"term": {f"metadata.{key}": value}} for key, value in wanted.metadata]
    for account in (wanted.account, wanted.counterparty):
        if account is not None:
            filters += requests.touching(account)
    filters += requests.of_kinds(wanted.kinds)
    filters += requests.of_currency(wanted.currency)
    filters += requests.between("amount", gte=wanted.min_amount, lte=wanted.max_amount)
    filters += requests.created(wanted.start_us, wanted.end_us)
    return filters


def _words(words: tuple[str, ...]) -> list[Body]:
    """Each in either text. A word that the index takes for several is in it as all of them."""
    filters = []
    for place, word in enumerate(words, start=1):
        beginning = _without_marks_at_its_end(word) if place == len(words) else ""
        begins = len(beginning) >= SHORTEST_BEGINNING
        match, word = ("match_bool_prefix", beginning) if begins else ("match", word)
        either = [{match: {text: {"query": word, "operator": "and"}}} for text in _TEXTS]
        filters.append({"bool": {"should": either}})
    return filters


def _without_marks_at_its_end(word: str) -> str:
    """To the index a mark ends a word, which is then looked for whole."""
    while word and unicodedata.category(word[-1]) in _MARKS:
        word = word[:-1]
    return word


def _visible(viewer: Viewer) -> list[Body]:
    """As query_service.access shows transfers; a decline is the payer's business."""
    if viewer.reach.all:
        return []
    (paid,) = requests.payers_visible(viewer)
    received = requests.side_visible(viewer, "credit")
    if not received:
        return [paid]
    payees: Body = {"bool": {"should": received, "must_not": [DECLINED]}}
    return [{"bool": {"should": [*paid["bool"]["should"], payees]}}]
