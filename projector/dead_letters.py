"""What a sink refused for good, kept by id so that it can be listed and replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg
import structlog

import database
from paycore.domain.position import Position
from projector.errors import DeadLettersFullError
from projector.metrics import DEAD_LETTERS, DEAD_LETTERS_KEPT

_TYPE_LENGTH = 128
_REASON_LENGTH = 512
_LOGGED = 20
"""Rejections of one batch that get a line of their own in the log."""

log = structlog.get_logger()


class Rejection(NamedTuple):
    """Something that the sink will never take, and why. No field's value stands in `reason`."""

    kind: str
    """Which family of the sink's items; with `id` the key of the dead letter."""
    id: int
    version: int
    error_type: str
    reason: str


class DeadLetters:
    """The dead letters of one sink, bounded: a flood of them is a fault, not an exception."""

    def __init__(self, connection: asyncpg.Connection, sink: str, *, limit: int) -> None:
        self._connection = connection
        self._sink = sink
        self._limit = limit
        self._queries: Any = database.load("projector")

    @property
    def limit(self) -> int:
        """How many there may be."""
        return self._limit

    async def show(self) -> None:
        """Show how many there are. Raises what asyncpg raises."""
        count = await self._queries.count_dead_letters(
            self._connection, sink=self._sink, kinds=[], document_ids=[]
        )
        DEAD_LETTERS_KEPT.labels(self._sink).set(count["held"])

    async def save(self, rejections: Sequence[Rejection], position: Position) -> None:
        """Keep `rejections` of the batch that ends at `position`.

        What is refused again takes its own place. Raises DeadLettersFullError, having kept none,
        when there would be more than the limit.
        """
        kinds = [str(rejection.kind) for rejection in rejections]
        document_ids = [rejection.id for rejection in rejections]
        count = await self._queries.count_dead_letters(
            self._connection, sink=self._sink, kinds=kinds, document_ids=document_ids
        )
        held = count["held"]
        fresh = len(set(zip(kinds, document_ids, strict=True))) - count["again"]
        if fresh and held + fresh > self._limit:
            raise DeadLettersFullError(
                f"sink {self._sink} refused {fresh} documents more, and {held} of at most"
                f" {self._limit} dead letters are there already"
            )
        await self._queries.save_dead_letters(
            self._connection,
            sink=self._sink,
            kinds=kinds,
            document_ids=document_ids,
            versions=[rejection.version for rejection in rejections],
            error_types=[rejection.error_type[:_TYPE_LENGTH] for rejection in rejections],
            reasons=[rejection.reason[:_REASON_LENGTH] for rejection in rejections],
            xid=position.xid,
            journal_id=position.journal_id,
        )
        DEAD_LETTERS_KEPT.labels(self._sink).set(held + fresh)
        for rejection in rejections:
            DEAD_LETTERS.labels(self._sink, rejection.kind, rejection.error_type).inc()
        for rejection in rejections[:_LOGGED]:
            log.error(
                "document refused for good",
                sink=self._sink,
                kind=str(rejection.kind),
                document_id=rejection.id,
                error_type=rejection.error_type,
            )
        if len(rejections) > _LOGGED:
            log.error("more documents refused for good", more=len(rejections) - _LOGGED)
