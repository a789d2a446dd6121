"""What a search asks the index for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.grants import Reach
from query_service.readers.elastic.search import request
from query_service.readers.port import Viewer
from query_service.readers.search_port import SearchFilter

CLIENT = {"term": {"client": "app"}}
DECLINED = {"term": {"state": "FAILED"}}
OWN = Viewer("app", Reach(own=True, institutions=frozenset({"b", "a"})))
NOBODY = Viewer("app", Reach())
ALL = Viewer("app", Reach(all=True))


def side(name: str) -> list[dict[str, object]]:
    return [
        {"term": {f"{name}_opened_by": "app"}},
        {"terms": {f"{name}_institution": ["a", "b"]}},
    ]


def filters(wanted: SearchFilter, viewer: Viewer) -> list[object]:
    found: list[object] = request(wanted, viewer, None, 1, with_total=False)["query"]["bool"][
        "filter"
    ]
    return found


def test_whoever_reads_all_is_not_narrowed() -> None:
    assert filters(SearchFilter(include_declines=True), ALL) == []


def test_a_payee_reads_what_is_not_declined() -> None:
    (visible,) = filters(SearchFilter(include_declines=True), OWN)
    received = {"bool": {"should": side("credit"), "must_not": [DECLINED]}}
    assert visible == {"bool": {"should": [CLIENT, *side("debit"), received]}}


def test_a_client_without_accounts_finds_what_it_asked_for() -> None:
    (visible,) = filters(SearchFilter(include_declines=True), NOBODY)
    assert visible == {"bool": {"should": [CLIENT]}}


def test_metadata_is_searched_where_it_is_shown() -> None:
    wanted = SearchFilter(metadata=(("k", "v"),), include_declines=True)
    assert filters(wanted, OWN)[1:] == [
        {"bool": {"should": [CLIENT, *side("debit")]}},
        {"term": {"metadata.k": "v"}},
    ]
    assert filters(wanted, ALL) == [{"term": {"metadata.k": "v"}}]


ONLY = {"bool", "filter", "must_not", "should", "term", "terms", "match", "match_bool_prefix"}
"""Of all that Elasticsearch can be asked, what is asked: nothing that reads a text as a query."""


@given(st.lists(st.text(min_size=1, max_size=9), max_size=4), st.dictionaries(st.text(), st.text()))
def test_texts_of_callers_are_values_only(words: list[str], metadata: dict[str, str]) -> None:
    wanted = SearchFilter(words=tuple(words), metadata=tuple(sorted(metadata.items())))

    def operators(node: Any) -> set[str]:
        match node:
            case {"match": inner} | {"match_bool_prefix": inner}:
                assert set(inner) <= {"description", "reference.text"}
                for value in inner.values():
                    assert set(value) == {"query", "operator"}
                return {*node}
            case {"term": inner} | {"terms": inner}:
                assert len(inner) == 1
                return {*node}
            case dict():
                return each(node.values()) | set(node)
            case list():
                return each(node)
            case _:
                return set()

    def each(nodes: Iterable[object]) -> set[str]:
        return {name for node in nodes for name in operators(node)}

    for viewer in (OWN, ALL, NOBODY):
        body = request(wanted, viewer, None, 1, with_total=False)
        json.dumps(body)
        assert operators(body["query"]) <= ONLY
