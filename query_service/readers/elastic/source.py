"""What all parts of the reader share: the cluster, its indices, and how far they are."""

from __future__ import annotations

from query_service.positions import PositionTracker
from query_service.readers.elastic.connection import Connection
from query_service.readers.elastic.freshness import reached
from query_service.readers.port import Freshness, HistoryDroppedError, ReadTerms


class ElasticSource:
    """Reads the indices under one prefix."""

    def __init__(self, connection: Connection, positions: PositionTracker, prefix: str) -> None:
        self._connection = connection
        self._positions = positions
        self._transfers = f"{prefix}-transfers"
        self._accounts = f"{prefix}-accounts"

    def _check_reaches(self, time_us: int) -> None:
        """Raise HistoryDroppedError unless all transfers from `time_us` on are in the index.

        For what an answer would lack: after the search, so that what it found decides.
        """
        from_us = self._positions.from_us()
        if from_us is None or time_us < from_us:
            raise HistoryDroppedError

    async def _freshness(self, terms: ReadTerms) -> Freshness:
        return await reached(self._positions, terms)
