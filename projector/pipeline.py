"""Feeds a sink from the journal: read and decode, accept, move the checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

import structlog

from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from projector.batch import Batch
from projector.behind import Behind
from projector.checkpoint import Checkpoints
from projector.metrics import JOURNAL_TIME, JOURNAL_XID
from projector.sinks import Session, Sink
from projector.source import JournalSource

_ACTIVE_FOR_S = 2.0
"""How long after a row the journal counts as active, in seconds."""

_CONFIRM_EVERY_S = 1.0
"""How often the lock's connection is tried while nothing is written on it, in seconds."""

_LETTERS_EVERY_S = 10.0
"""How often dead letters are counted, in seconds."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Polling:
    """Pauses between polls that found the journal's end, in seconds."""

    active_s: float
    idle_s: float


Taken = TypeVar("Taken")


class Pipeline(Generic[Taken]):
    """One sink's feed. The next page is read while the sink takes the present one."""

    def __init__(
        self,
        source: JournalSource[Taken],
        sink: Sink[Taken],
        checkpoints: Checkpoints,
        session: Session,
        clock: Clock,
        polling: Polling,
        started: Callable[[], None],
        behind: Behind,
    ) -> None:
        """`started` is called once the sink has; `behind` hears how far it was fed."""
        self._source = source
        self._sink = sink
        self._checkpoints = checkpoints
        self._session = session
        self._clock = clock
        self._polling = polling
        self._started = started
        self._behind = behind
        self._letters_shown_s = -inf
        self._journal_xid = JOURNAL_XID.labels(sink.name)
        self._journal_time = JOURNAL_TIME.labels(sink.name)
        self._active_until_s = 0.0
        self._confirmed_s = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the journal until `stop`; raises what source, sink and checkpoints raise."""
        position = await self._begin()
        coming = asyncio.create_task(self._source.read(position))
        try:
            while not stop.is_set():
                batch = await coming
                coming = asyncio.create_task(self._next(batch))
                await self._feed(batch)
                await self._sink.tend(batch.position)
                await self._show_dead_letters()
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _begin(self) -> Position:
        """Where to resume: at the checkpoint, or before it where the sink lacks what it had, such
        as an index put back from an older copy. What it has after all it drops when it comes."""
        seen = await self._sink.start(self._session)
        self._started()
        # After the start: a sink that lost a part of what it had moves its checkpoint back there.
        checkpoint = await self._checkpoints.load()
        if checkpoint.epoch != self._session.epoch:
            log.warning(
                "the ledger is in another epoch", sink=self._sink.name, was=checkpoint.epoch
            )
            checkpoint = seen
            await self._checkpoints.save(checkpoint)
        elif seen < checkpoint:
            if seen.is_beginning:
                log.error("the sink is empty: filling it from the beginning", sink=self._sink.name)
            else:
                # As after any end under load: what was taken last could not be found yet.
                log.info(
                    "the sink is behind its checkpoint", sink=self._sink.name, was=checkpoint.xid
                )
            checkpoint = seen
            # Before anything is taken: the sink must not look filled while the checkpoint still
            # stands where the lost one was.
            await self._checkpoints.save(checkpoint)
        log.info("following the journal", sink=self._sink.name, xid=checkpoint.xid)
        return checkpoint

    async def _next(self, last: Batch[Taken]) -> Batch[Taken]:
        if last.items:
            self._active_until_s = self._clock.monotonic_s() + _ACTIVE_FOR_S
        if last.caught_up:
            active = self._clock.monotonic_s() < self._active_until_s
            await asyncio.sleep(self._polling.active_s if active else self._polling.idle_s)
        return await self._source.read(last.position)

    async def _show_dead_letters(self) -> None:
        """Somebody may have replayed or discarded some."""
        now_s = self._clock.monotonic_s()
        if now_s - self._letters_shown_s >= _LETTERS_EVERY_S:
            await self._session.dead_letters.show()
            self._letters_shown_s = now_s

    async def _feed(self, batch: Batch[Taken]) -> None:
        rejections = await self._sink.accept(batch)
        if rejections:
            await self._session.dead_letters.save(rejections, batch.position)
        self._behind.reached(batch.source_time_us)
        if batch.written_us:
            await self._checkpoints.save(batch.position)
            self._journal_xid.set(batch.position.xid)
            self._journal_time.set(batch.written_us[-1] / 1e6)
        elif self._clock.monotonic_s() - self._confirmed_s >= _CONFIRM_EVERY_S:
            await self._checkpoints.confirm_connected()
        else:
            return
        self._confirmed_s = self._clock.monotonic_s()
