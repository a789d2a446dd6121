"""What travels from the journal to a sink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from paycore.domain.position import Position


class DocumentKind(StrEnum):
    """Which family a document belongs to; declines are transfers that failed."""

    TRANSFER = "transfers"
    ACCOUNT = "accounts"


class Document(NamedTuple):
    """One document: its identity, and its content as UTF-8 JSON on one line.

    `version` rises with every change of the document, so that an older copy never replaces a newer.
    """

    kind: DocumentKind
    id: int
    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """The documents of a stretch of the journal; none while the journal rests."""

    position: Position
    """The end of the stretch."""
    caught_up: bool
    """Whether the journal held no more when it was read."""
    source_time_us: int
    """Everything committed up to this time is in this batch or before it."""
    written_us: Sequence[int]
    """When the journal rows of the stretch were written."""
    documents: Sequence[Document]
    rewrites: frozenset[int] = frozenset()
    """Data keys under which documents are to be written again: those erased in this stretch, and
    those that could not be had for its documents."""
