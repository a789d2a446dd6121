"""Names of the indices of one prefix. Pure.

Readers use an alias for each kind. Behind it stand the indices of one generation: transfers in one
a month, by their immutable created_at, and the accounts in one. Each index has an alias of its own
by which it is written, so that a write to one that is lost is refused and makes none. Generation 0
is what earlier releases made: one index of transfers, written by the readers' alias.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from projector.batch import Document, DocumentKind

DAY_US = 86_400_000_000
Month = str
"""YYYY.MM, which sorts by time; in UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Named(NamedTuple):
    """What the name of an index says; `month` is empty for accounts."""

    kind: DocumentKind
    generation: int
    month: Month


class Layout:
    """The names of one generation."""

    def __init__(self, prefix: str, generation: int) -> None:
        self.prefix = prefix
        self.generation = generation

    @property
    def by_month(self) -> bool:
        """Whether its transfers stand in one index a month."""
        return self.generation > 0

    def index(self, kind: DocumentKind, month: Month = "") -> str:
        """Name of an index of this generation."""
        parts = [self.prefix, kind.value, f"g{self.generation}"]
        return "-".join([*parts, month] if month else parts)

    def indices(self, months: list[Month]) -> list[str]:
        """All its indices, where it has those of `months`."""
        accounts = self.index(DocumentKind.ACCOUNT)
        return [*(self.index(DocumentKind.TRANSFER, month) for month in sorted(months)), accounts]

    def target(self, document: Document) -> str:
        """The alias by which `document` is written."""
        if not self.by_month:
            return alias(self.prefix, document.kind)
        if document.kind is DocumentKind.ACCOUNT:
            return write_alias(self.index(document.kind))
        return write_alias(self.index(document.kind, month_of(document.created_at_us)))

    def searched(self, kind: DocumentKind) -> str:
        """What to search for all of this generation's documents of a kind, served or not."""
        if not self.by_month:
            return alias(self.prefix, kind)
        name = self.index(kind)
        return name if kind is DocumentKind.ACCOUNT else f"{name}-*"


def alias(prefix: str, kind: DocumentKind) -> str:
    """The name under which readers find documents of a kind."""
    return f"{prefix}-{kind.value}"


def write_alias(index: str) -> str:
    """The name under which an index is written."""
    return f"{index}-write"


def parse(prefix: str, index: str) -> Named | None:
    """What an index's name says; None for a name that is not of this layout."""
    kinds = "|".join(kind.value for kind in DocumentKind)
    found = re.fullmatch(rf"{re.escape(prefix)}-({kinds})-g([1-9]\d*)(?:-(\d{{4}}\.\d\d))?", index)
    if found is None:
        return None
    named = Named(DocumentKind(found[1]), int(found[2]), found[3] or "")
    return named if bool(named.month) == (named.kind is DocumentKind.TRANSFER) else None


def month_of(time_us: int) -> Month:
    """The month in which a time lies."""
    return _month_of_day(time_us // DAY_US)


def month_start_us(month: Month) -> int:
    """When a month begins."""
    year, number = month.split(".")
    return int((datetime(int(year), int(number), 1, tzinfo=UTC) - _EPOCH).total_seconds()) * 10**6


def later(month: Month, by: int) -> Month:
    """The month that many after `month`; before it where `by` is negative."""
    year, number = map(int, month.split("."))
    months = year * 12 + number - 1 + by
    return f"{months // 12:04d}.{months % 12 + 1:02d}"


@lru_cache(maxsize=4_096)
def _month_of_day(day: int) -> Month:
    return f"{_EPOCH + timedelta(days=day):%Y.%m}"
