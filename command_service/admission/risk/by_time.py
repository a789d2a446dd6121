"""Things that are to be forgotten, each at its time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

SLACK = 64
"""Entries in excess of what is kept that are not worth cleaning up."""


class ByTime:
    """Numbers by time, in seconds on one clock; each operation is O(log n), averaged over many."""

    def __init__(self) -> None:
        self._until_s: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        """As `_until_s`, and what was put off or dropped since it was last cleaned up."""

    def __len__(self) -> int:
        return len(self._until_s)

    @property
    def size(self) -> int:
        """Entries in memory: those kept, at most as many again, and SLACK."""
        return len(self._heap)

    def put(self, number: int, until_s: float) -> None:
        """Keep `number` until `until_s`, whatever was said of it before."""
        self._until_s[number] = until_s
        heapq.heappush(self._heap, (until_s, number))
        self._clean_up()

    def drop(self, number: int) -> None:
        """Keep `number` no more."""
        self._until_s.pop(number, None)
        self._clean_up()

    def due(self, now_s: float) -> Iterator[int]:
        """Those whose time is up, in its order; each is dropped as it is given."""
        while self._heap and self._heap[0][0] <= now_s:
            entry = heapq.heappop(self._heap)
            if self._is_current(entry):
                del self._until_s[entry[1]]
                yield entry[1]

    def _is_current(self, entry: tuple[float, int]) -> bool:
        until_s, number = entry
        return self._until_s.get(number) == until_s

    def _clean_up(self) -> None:
        """Keep the heap within twice of what is kept."""
        if len(self._heap) > 2 * len(self._until_s) + SLACK:
            self._heap = [(until_s, number) for number, until_s in self._until_s.items()]
            heapq.heapify(self._heap)
