"""A Redis stream as a sink: an event for each transfer and each stored decline, each once.

The ids of its entries come from the journal, and so does all that an event says: whoever sends one
again, after a crash or beside another leader, sends the same. An entry is added only where the
stream ends as this process thinks it does.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import structlog

import database
from paycore.domain.position import Position
from paycore.domain.stream import NOWHERE, EntryId
from paycore.runtime.clock import Clock
from projector.batch import Batch
from projector.checkpoint import Checkpoints
from projector.errors import EpochChangedError, SinkLostError, SinkRefusedError
from projector.events import Event, EventDecoder
from projector.metrics import EVENTS, LAG_SECONDS, STREAM_LOST
from projector.readiness import Readiness
from projector.sinks import Rejection, Session
from projector.sinks.stream_redis import Line, RedisPersistence, StreamWriter

NAME = "stream"

AT_ONCE = 250
"""Events in one request: Redis does nothing else for about two milliseconds."""

LOOK_EVERY_S = 1.0
"""How often it is looked whether the stream is still there while nothing is added, in seconds."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Where the stream is, and about how many entries it keeps."""

    url: str = field(repr=False)
    prefix: str
    entries: int


class StreamSink:
    """The stream of one ledger, for one session."""

    name = NAME

    def __init__(
        self, settings: StreamSettings, clock: Clock, readiness: Readiness, chance: random.Random
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._persistence = RedisPersistence(readiness, chance)
        self._writer = StreamWriter(settings.url, settings.prefix, entries=settings.entries)
        self._queries: Any = database.load("stream")
        self._ends: EntryId | None = None
        """Where the stream ends; None where there is none yet."""
        self._previous = NOWHERE
        """The event before the next one of the journal."""
        self._looked_s = 0.0
        self._lag = LAG_SECONDS.labels(NAME)

    def decoder(self, connection: asyncpg.Connection) -> EventDecoder:
        """Makes events."""
        return EventDecoder(connection)

    async def start(self, session: Session) -> Position:
        """Find where the stream ends, and from where the journal is to be sent.

        Where it lacks events before the checkpoint it was emptied or replaced, and is filled again
        with what it may hold. Raises EpochChangedError where it is of a later epoch, and
        SinkRefusedError where it has what the journal does not know.
        """
        told = await self._persistence.request("start", self._writer.told_epoch)
        if told is not None and told > session.epoch:
            raise EpochChangedError(f"the stream is of epoch {told}, the ledger of {session.epoch}")
        self._ends = await self._persistence.request(
            "start", partial(self._writer.open, session.epoch, told)
        )
        checkpoints = Checkpoints(session.connection, NAME)
        checkpoint = await checkpoints.load()
        taken = checkpoint
        if checkpoint.epoch != session.epoch:
            taken = Position.beginning(session.epoch)
        resume = await self._resume(session, taken)
        self._previous = await self._last_event(session, resume)
        if resume != checkpoint:
            await checkpoints.save(resume)
        return resume

    async def _resume(self, session: Session, taken: Position) -> Position:
        ends = self._ends or NOWHERE
        if ends != NOWHERE:
            known = await self._queries.items_in(session.connection, xid=ends.xid)
            if ends.ordinal > known:
                raise SinkRefusedError(
                    f"the stream ends with {ends}, which this ledger's journal does not know: it"
                    " is another ledger's, or this one was restored and its epoch not raised"
                )
        if self._ends is not None and ends >= await self._last_event(session, taken):
            return taken
        # Behind what was taken, or empty: from where it ends, but no more than it may keep.
        row = await self._queries.fill_from(session.connection, most=self._settings.entries)
        oldest = Position(session.epoch, row["xid"], row["id"]) if row else Position(0, 0, 0)
        resume = max(oldest, Position(session.epoch, ends.xid, 0))
        if taken.xid:
            filled = "in part" if oldest == resume else "whole"
            STREAM_LOST.labels(NAME, filled).inc()
            log.error(
                "the stream lacks events that it had: filling it again",
                ends=str(ends),
                taken_xid=taken.xid,
                from_xid=resume.xid,
                filled=filled,
            )
        return resume

    async def _last_event(self, session: Session, until: Position) -> EntryId:
        row = await self._queries.last_event(session.connection, xid=until.xid, id=until.journal_id)
        return NOWHERE if row is None else EntryId(row["xid"], row["ordinal"])

    async def accept(self, batch: Batch[Event]) -> Sequence[Rejection]:
        """Add what the stream lacks of `batch`.

        Raises SinkLostError when the stream does not end as it was left.
        """
        lines = []
        ends = self._ends or NOWHERE
        for event in batch.items:
            if event.entry > ends:
                told = f'["{event.entry}", {event.told}, "{self._previous}"]'
                lines.append(Line(event.entry, told))
            self._previous = event.entry
        EVENTS.labels(NAME, "already_there").inc(len(batch.items) - len(lines))
        for chunk in _chunks(lines):
            await self._add(chunk)
        if lines:
            self._note_lag(batch.written_us)
        elif self._clock.monotonic_s() - self._looked_s >= LOOK_EVERY_S:
            found = await self._persistence.request("look", self._writer.look)
            self._looked_s = self._clock.monotonic_s()
            if found != self._ends:
                raise self._lost(found)
        return ()

    async def _add(self, lines: Sequence[Line]) -> None:
        while lines:
            added = await self._persistence.request(
                "add", partial(self._writer.add, self._ends, lines)
            )
            if added.done:
                self._ends = added.ends
                EVENTS.labels(NAME, "added").inc(len(lines))
                return
            # An earlier attempt may have been carried out and its reply lost.
            places = [line.entry for line in lines]
            if added.ends not in places:
                raise self._lost(added.ends)
            self._ends = added.ends
            there = places.index(added.ends) + 1
            EVENTS.labels(NAME, "already_there").inc(there)
            lines = lines[there:]

    def _lost(self, found: EntryId | None) -> SinkLostError:
        return SinkLostError(f"the stream was left at {self._ends} and ends with {found}")

    def _note_lag(self, written_us: Sequence[int]) -> None:
        now_us = self._clock.now_us()
        for at_us in written_us:
            self._lag.observe(max(0, now_us - at_us) / 1e6)

    async def tend(self, position: Position) -> None:
        """Nothing is done beside the feed."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._writer.close()


def _chunks(lines: Sequence[Line]) -> list[Sequence[Line]]:
    return [lines[start : start + AT_ONCE] for start in range(0, len(lines), AT_ONCE)]
