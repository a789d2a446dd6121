"""What travels from the journal to a sink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

from paycore.domain.position import Position

Row = Mapping[str, Any]
"""A row of one of the named queries, by column."""

Item = TypeVar("Item", covariant=True)
"""What a sink takes one by one: a document, an event, a row of the journal."""


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
    created_at_us: int = 0
    """Of a transfer or decline: never changes, and says in which month's index it stands."""


class Decoded(NamedTuple, Generic[Item]):
    """The items that a stretch of the journal makes."""

    items: Sequence[Item]
    withheld: frozenset[int] = frozenset()
    """Data keys that could not be had for some of the items."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[Item]):
    """The items of a stretch of the journal; none while the journal rests."""

    position: Position
    """The end of the stretch."""
    caught_up: bool
    """Whether the journal held no more when it was read."""
    source_time_us: int
    """Everything committed up to this time is in this batch or before it."""
    written_us: Sequence[int]
    """When the journal rows of the stretch were written."""
    items: Sequence[Item]
    rewrites: frozenset[int] = frozenset()
    """Data keys under which personal data is to be shown anew: those erased in this stretch, and
    those that could not be had for its items."""
