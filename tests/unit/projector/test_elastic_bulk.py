"""How bulk requests are written and their replies are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projector.batch import Document, DocumentKind
from projector.errors import SinkLostError, SinkRefusedError
from projector.sinks.elastic_bulk import chunks, request_body, sort_items
from projector.sinks.elastic_layout import Layout

LAYOUT = Layout("p", 3)
DOCUMENT = Document(DocumentKind.TRANSFER, 5, 1, b'{"id":5}', 1_796_000_000_000_000)


def item(status: int, error_type: str | None = None, reason: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {"status": status}
    if error_type is not None:
        result["error"] = {"type": error_type, "reason": reason}
    return {"index": result}


def fate(status: int, error_type: str | None = None) -> str:
    outcome = sort_items([DOCUMENT], {"items": [item(status, error_type)]})
    [name] = [
        name
        for name in ("indexed", "already_applied", "rejected", "again")
        if getattr(outcome, name)
    ]
    return name


@pytest.mark.parametrize(
    ("status", "error_type", "expected"),
    [
        (201, None, "indexed"),
        (200, None, "indexed"),
        (409, "version_conflict_engine_exception", "already_applied"),
        (429, "es_rejected_execution_exception", "again"),
        (429, "cluster_block_exception", "again"),
        (403, "cluster_block_exception", "again"),
        (403, "security_exception", "again"),
        (400, "index_closed_exception", "again"),
        (503, "unavailable_shards_exception", "again"),
        (500, "illegal_state_exception", "again"),
        (400, "document_parsing_exception", "rejected"),
        (400, "strict_dynamic_mapping_exception", "rejected"),
        (400, "illegal_argument_exception", "rejected"),
        (409, "some_other_conflict", "rejected"),
    ],
)
def test_each_item_has_its_fate(status: int, error_type: str | None, expected: str) -> None:
    assert fate(status, error_type) == expected


def test_items_keep_the_order_of_the_request() -> None:
    documents = [DOCUMENT._replace(id=key) for key in range(3)]
    reply = {"items": [item(201), item(400, "x_exception", "why"), item(429, "y_exception")]}
    outcome = sort_items(documents, reply)
    assert [document.id for document in outcome.indexed] == [0]
    assert [(r.id, r.error_type, r.reason) for r in outcome.rejected] == [(1, "x_exception", "why")]
    assert [document.id for document in outcome.again] == [2]
    assert outcome.causes == {"429"}


def test_an_index_that_is_gone_is_no_rejection() -> None:
    with pytest.raises(SinkLostError):
        fate(404, "index_not_found_exception")


@pytest.mark.parametrize("reply", [{}, {"items": []}, {"items": [item(201), item(201)]}])
def test_a_reply_that_does_not_answer_every_item_is_an_error(reply: dict[str, Any]) -> None:
    with pytest.raises(SinkRefusedError, match="every item"):
        sort_items([DOCUMENT], reply)


def test_values_are_cut_from_reasons() -> None:
    reason = "failed to parse field [x] of type [long]. Preview of field's value: 'canary'"
    outcome = sort_items([DOCUMENT], {"items": [item(400, "document_parsing_exception", reason)]})
    assert outcome.rejected[0].reason == "failed to parse field [x] of type [long]."


def test_a_request_names_index_id_and_external_version() -> None:
    account = Document(DocumentKind.ACCOUNT, 9, 4, b'{"id":9}')
    lines = request_body([DOCUMENT, account], LAYOUT).decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "index": {
                "_index": "p-transfers-g3-2026.11-write",
                "_id": "5",
                "version": 1,
                "version_type": "external",
            }
        },
        {"id": 5},
        {
            "index": {
                "_index": "p-accounts-g3-write",
                "_id": "9",
                "version": 4,
                "version_type": "external",
            }
        },
        {"id": 9},
    ]


@given(
    sizes=st.lists(st.integers(1, 40), max_size=50),
    max_documents=st.integers(1, 10),
    max_bytes=st.integers(1, 100),
)
def test_chunks_keep_everything_in_order_and_within_bounds(
    sizes: list[int], max_documents: int, max_bytes: int
) -> None:
    documents = [
        Document(DocumentKind.TRANSFER, key, 1, b"x" * size) for key, size in enumerate(sizes)
    ]
    cut = list(chunks(documents, max_documents, max_bytes))
    assert [document for chunk in cut for document in chunk] == documents
    for chunk in cut:
        assert 1 <= len(chunk) <= max_documents
        assert len(chunk) == 1 or sum(len(document.body) for document in chunk) <= max_bytes
