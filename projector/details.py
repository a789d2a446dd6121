"""What opens personal data, as those see it who need it opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from projector.batch import Row
from projector.documents import ShownDetails


class Opened(NamedTuple):
    """Details by the id of their row, and the keys that could not be had for some of them."""

    details: Mapping[int, ShownDetails]
    withheld: frozenset[int]


class Opener(Protocol):
    """Opens the details of a whole page at once."""

    async def open(self, rows: Iterable[Row]) -> Opened:
        """The details of those of `rows` that have any. Never fails for want of a key."""
        ...
