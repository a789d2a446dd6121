"""Writes documents again whose personal data was erased, or could not be had before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import structlog

import database
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from projector.batch import Document
from projector.details import Opener
from projector.loader import Loader
from projector.metrics import REWRITTEN
from projector.sinks import Rejection, Session

AT_ONCE = 500
"""Documents in one step: what the journal brings meanwhile waits no longer than for these."""

LOOK_EVERY_S = 1.0
"""How often it is looked for work that was not asked for here, in seconds."""

ASK_AGAIN_MS = 5_000
"""How long a key that cannot be had is left alone, in milliseconds."""

log = structlog.get_logger()


class Index(Protocol):
    """What the rewriter asks of a sink that takes documents."""

    @property
    def name(self) -> str: ...

    async def rewrite(self, documents: Sequence[Document]) -> Sequence[Rejection]:
        """Take documents in the place of copies of the same version too; returns what it never
        will. They are told with the next batch. Raises as `Sink.accept`."""
        ...


class Rewriter:
    """Works through projection.rewrites of one sink, a bounded step at a time."""

    def __init__(
        self,
        session: Session,
        opener: Opener,
        sink: Index,
        clock: Clock,
    ) -> None:
        self._connection = session.connection
        self._loader = Loader(session.connection, opener)
        self._sink = sink
        self._dead_letters = session.dead_letters
        self._clock = clock
        self._queries: Any = database.load("rewrites")
        self._look_at_s = 0.0

    async def request(self, keys: Collection[int]) -> None:
        """Have everything under `keys` written again, from the first."""
        if keys:
            await self._queries.request_rewrites(
                self._connection, sink=self._sink.name, keys=list(keys)
            )
            self._look_at_s = 0.0

    async def step(self, position: Position) -> None:
        """Write some documents, if there are any to write; `position` is the feed's."""
        if self._clock.monotonic_s() < self._look_at_s:
            return
        row = await self._queries.next_rewrite(self._connection, sink=self._sink.name)
        if row is None:
            self._look_at_s = self._clock.monotonic_s() + LOOK_EVERY_S
            return
        key = {"sink": self._sink.name, "data_key": row["data_key"]}
        ids = await self._queries.find_details_under(
            self._connection, data_key=row["data_key"], after_id=row["after_id"], most=AT_ONCE
        )
        if ids:
            loaded = await self._loader.transfers_and_declines([found["id"] for found in ids])
            if row["data_key"] in loaded.withheld:
                await self._queries.postpone_rewrite(self._connection, wait_ms=ASK_AGAIN_MS, **key)
                return
            # Rows of two keys: the other one's work, for which it is asked apart.
            await self.request(loaded.withheld)
            rejections = await self._sink.rewrite(loaded.items)
            if rejections:
                await self._dead_letters.save(rejections, position)
            REWRITTEN.labels(self._sink.name).inc(len(loaded.items))
            await self._queries.advance_rewrite(
                self._connection, round=row["round"], after_id=ids[-1]["id"], **key
            )
        if len(ids) < AT_ONCE:
            await self._queries.end_rewrite(self._connection, round=row["round"], **key)
            log.info("documents written again", sink=self._sink.name, data_key=row["data_key"])
