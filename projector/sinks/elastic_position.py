"""The document that tells readers up to where everything can be found."""

from __future__ import annotations

from typing import Any

from elasticsearch import AsyncElasticsearch, ConflictError, NotFoundError

from paycore.domain.position import Position
from projector.errors import SinkLostError
from projector.lag_window import LagSummary
from projector.sinks.elastic_requests import ElasticPersistence


class PositionDocument:
    """One sink's positions document, which only its leader replaces.

    Each write names the sequence number of the copy it replaces. It fails where another projector
    wrote meanwhile, and where the index is gone.
    """

    def __init__(
        self, client: AsyncElasticsearch, persistence: ElasticPersistence, index: str, sink: str
    ) -> None:
        self._client = client
        self._persistence = persistence
        self._index = index
        self._sink = sink
        self._seq_no = 0
        self._primary_term = 0
        self.from_us = 0
        """As found: from which time on all is there."""

    async def find(self) -> Position | None:
        """The position in the document, if there is one; it may be of another epoch."""
        found = await self._find()
        if found is None:
            return None
        self.from_us = found.get("from_us", 0)
        return Position(found["epoch"], found["xid"], found["journal_id"])

    async def reset(self, epoch: int) -> None:
        """Say that nothing of the journal can be found yet."""
        reply = await self._client.index(
            index=self._index, id=self._sink, document=_document(Position(epoch, 0, 0), 0, 0, 0)
        )
        self._seq_no, self._primary_term = reply["_seq_no"], reply["_primary_term"]

    async def write(
        self,
        position: Position,
        refreshed_at_us: int,
        source_time_us: int,
        from_us: int,
        lag: LagSummary | None = None,
    ) -> None:
        """Replace the document; `lag` is for readers who ask how late the sink was lately.

        Raises SinkLostError when another copy is in its place, or none.
        """
        document = _document(position, refreshed_at_us, source_time_us, from_us)
        if lag is not None:
            document["lag"] = lag._asdict()

        async def attempt() -> None:
            try:
                reply = await self._client.index(
                    index=self._index,
                    id=self._sink,
                    document=document,
                    if_seq_no=self._seq_no,
                    if_primary_term=self._primary_term,
                )
            except ConflictError as error:
                # An earlier attempt may have been carried out and its reply lost.
                if await self._find() != document:
                    raise SinkLostError("the positions document is not as last written") from error
            else:
                self._seq_no, self._primary_term = reply["_seq_no"], reply["_primary_term"]

        await self._persistence.request("position", attempt)

    async def _find(self) -> dict[str, Any] | None:
        try:
            found = await self._client.get(index=self._index, id=self._sink, realtime=True)
        except NotFoundError:
            return None
        self._seq_no, self._primary_term = found["_seq_no"], found["_primary_term"]
        source: dict[str, Any] = found["_source"]
        return source


def _document(
    position: Position, refreshed_at_us: int, source_time_us: int, from_us: int
) -> dict[str, Any]:
    return {
        "epoch": position.epoch,
        "xid": position.xid,
        "journal_id": position.journal_id,
        "refreshed_at_us": refreshed_at_us,
        "source_time_us": source_time_us,
        "from_us": from_us,
    }
