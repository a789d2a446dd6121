"""Up to where the index can be searched, read as the query service reads it."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass, field

from elasticsearch import AsyncElasticsearch, NotFoundError, TransportError

from paycore.domain.position import Position
from tests.bench.errors import BenchError

SINK = "elasticsearch"
STALLED_AFTER_S = 180.0
POLL_S = 0.01
"""Several times quicker than the shortest gap between refreshes, so that none is missed."""


@dataclass(frozen=True, slots=True)
class Searchable:
    """Everything up to `position` could be searched from `since_us` on (wall clock)."""

    position: Position
    since_us: int


class IndexPositions:
    """Reads the positions document that the projector writes after each refresh."""

    def __init__(self, client: AsyncElasticsearch, prefix: str) -> None:
        self._client = client
        self._index = f"{prefix}-positions"

    async def read(self) -> Searchable | None:
        """The document as it is now; None while there is none or nobody answers."""
        try:
            found = await self._client.get(index=self._index, id=SINK, realtime=True)
        except (NotFoundError, TransportError):
            return None
        source = found["_source"]
        position = Position(source["epoch"], source["xid"], source["journal_id"])
        return Searchable(position, source["refreshed_at_us"])

    async def wait_for(self, position: Position) -> Searchable:
        """Wait until everything up to `position` can be searched.

        Raises BenchError when the index does not move for STALLED_AFTER_S.
        """
        last: Searchable | None = None
        give_up_s = time.monotonic() + STALLED_AFTER_S
        while time.monotonic() < give_up_s:
            found = await self.read()
            if found is not None and found.position >= position:
                return found
            if found is not None and (last is None or found.position > last.position):
                last, give_up_s = found, time.monotonic() + STALLED_AFTER_S
            await asyncio.sleep(POLL_S)
        raise BenchError(f"the index stands still at {last and last.position}")


@dataclass(slots=True)
class Watch:
    """Every position the index has stood at since `follow` began."""

    index: IndexPositions
    seen: list[Searchable] = field(default_factory=list)

    async def follow(self) -> None:
        """Read again and again until cancelled."""
        while True:
            found = await self.index.read()
            if found is not None and (not self.seen or found.position > self.seen[-1].position):
                self.seen.append(found)
            await asyncio.sleep(POLL_S)

    def searchable_us(self, position: Position) -> int:
        """When `position` could be searched. Raises BenchError when that was not seen."""
        at = bisect_left(self.seen, position, key=lambda searchable: searchable.position)
        if at == len(self.seen):
            raise BenchError("a transfer never became searchable")
        return self.seen[at].since_us
