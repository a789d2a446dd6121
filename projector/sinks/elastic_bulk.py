"""Bulk requests: how they are written, and what each item of a reply means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from projector.batch import Document, DocumentKind
from projector.errors import SinkLostError, SinkRefusedError
from projector.sinks import Rejection
from projector.sinks.elastic_layout import DAY_US, Layout

REPLY_FIELDS = "errors,items.*.status,items.*.error.type,items.*.error.reason"
"""What is asked of a bulk reply; items come in the order of the request."""

_PASSING_TYPES = frozenset(
    {"cluster_block_exception", "index_closed_exception", "unavailable_shards_exception"}
)
_PASSING_STATUSES = frozenset({401, 403, 408, 429})
_VALUE_FOLLOWS = (" Preview of field's value", " The prefix of the first immense term")
"""Elasticsearch quotes values after these: what follows may be personal."""


class VersionType(StrEnum):
    """Which copies a document replaces."""

    NEWER = "external"
    """Those of a lower version."""
    SAME_OR_NEWER = "external_gte"
    """Those of its own version too."""


@dataclass(slots=True)
class Sorted:
    """The items of one bulk reply, by what is to be done about them."""

    indexed: list[Document] = field(default_factory=list)
    already_applied: list[Document] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    again: list[Document] = field(default_factory=list)
    causes: set[str] = field(default_factory=set)
    """Why items are to be sent again."""


def chunks(
    documents: Sequence[Document], max_documents: int, max_bytes: int
) -> Iterator[Sequence[Document]]:
    """Cut `documents` into requests; a document larger than `max_bytes` goes alone."""
    begin, size = 0, 0
    for index, document in enumerate(documents):
        if index > begin and (
            index - begin >= max_documents or size + len(document.body) > max_bytes
        ):
            yield documents[begin:index]
            begin, size = index, 0
        size += len(document.body)
    if begin < len(documents):
        yield documents[begin:]


def request_body(
    documents: Sequence[Document],
    layout: Layout,
    versions: VersionType = VersionType.NEWER,
) -> bytes:
    """The newline-delimited body that indexes `documents` under their own ids and versions."""
    lines = []
    heads: dict[int, str] = {}
    for document in documents:
        # Those of a day go to the same index, and so do all accounts, which are of no day.
        day = document.created_at_us // DAY_US if document.kind is DocumentKind.TRANSFER else -1
        head = heads.get(day)
        if head is None:
            target = layout.target(document)
            head = f'{{"index":{{"_index":"{target}","version_type":"{versions}","_id":"'
            heads[day] = head
        lines.append(f'{head}{document.id}","version":{document.version}}}}}\n'.encode())
        lines.append(document.body)
        lines.append(b"\n")
    return b"".join(lines)


def sort_items(documents: Sequence[Document], reply: Mapping[str, Any]) -> Sorted:
    """Judge each item of a bulk reply to `documents`.

    Raises SinkLostError when an index is gone, SinkRefusedError when not every item is answered.
    """
    items = reply.get("items")
    if not isinstance(items, list) or len(items) != len(documents):
        raise SinkRefusedError("a bulk reply does not answer every item")
    outcome = Sorted()
    for document, item in zip(documents, items, strict=True):
        result = item["index"]
        status, error = result["status"], result.get("error")
        if error is None and status in (200, 201):
            outcome.indexed.append(document)
            continue
        error_type = error["type"] if error else "unknown"
        if status == 409 and error_type == "version_conflict_engine_exception":
            outcome.already_applied.append(document)
        elif status in _PASSING_STATUSES or status >= 500 or error_type in _PASSING_TYPES:
            outcome.again.append(document)
            outcome.causes.add(str(status))
        elif error_type == "index_not_found_exception":
            raise SinkLostError(f"no index for {document.kind.value} where there was one")
        else:
            reason = _without_values(error["reason"] if error else f"status {status}")
            outcome.rejected.append(
                Rejection(document.kind, document.id, document.version, error_type, reason)
            )
    return outcome


def _without_values(reason: str) -> str:
    for mark in _VALUE_FOLLOWS:
        reason = reason.partition(mark)[0]
    return reason
