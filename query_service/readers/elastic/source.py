"""What all parts of the reader share: the cluster, its indices, and how far they are."""

from __future__ import annotations

from query_service.positions import PositionTracker
from query_service.readers.elastic.connection import Connection
from query_service.readers.port import Freshness, ReadTerms

SOURCE = "elasticsearch"


class ElasticSource:
    """Reads the indices under one prefix."""

    def __init__(self, connection: Connection, positions: PositionTracker, prefix: str) -> None:
        self._connection = connection
        self._positions = positions
        self._transfers = f"{prefix}-transfers"
        self._accounts = f"{prefix}-accounts"

    async def _freshness(self, terms: ReadTerms) -> Freshness:
        # Taken before the query: what was searchable then is in any later answer.
        if terms.min_position is not None:
            await self._positions.reach(terms.min_position, terms.deadline_s, terms.patience_s)
        seen = self._positions.seen
        return Freshness(SOURCE, None if seen is None else seen.position, self._positions.lag_us())
