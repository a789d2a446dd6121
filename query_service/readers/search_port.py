"""What searching needs of a reader. See `port` for what every method may raise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from paycore.domain.accounts import AccountId
from paycore.domain.transfers import TransferKind
from query_service.readers.port import Answer, PageKey, ReadTerms, Total, Viewer
from query_service.readers.records import TransferRecord


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which transfers, of all that a viewer may see; times are [start, end) in microseconds,
    amounts inclusive."""

    words: tuple[str, ...] = ()
    """Each stands in the description or the reference; the last may be the beginning of one."""
    metadata: tuple[tuple[str, str], ...] = ()
    """Pairs of which all are in the metadata, by key."""
    account: AccountId | None = None
    counterparty: AccountId | None = None
    start_us: int | None = None
    end_us: int | None = None
    kinds: frozenset[TransferKind] = frozenset()
    currency: str | None = None
    min_amount: int | None = None
    max_amount: int | None = None
    include_declines: bool = False
    """Adds the stored declines that the viewer may see."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page, and how many there are of all pages where that was asked for."""

    transfers: Sequence[TransferRecord]
    total: Total | None


class Searcher(Protocol):
    """Finds transfers by what is said of them."""

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
        """At most `limit` transfers below `after` that `viewer` may see, by (created_at_us, id)
        descending. What is hidden from `viewer` in a transfer does not find it."""
        ...
