"""Feeds a sink from the journal: read and decode, accept, move the checkpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from projector.batch import Batch
from projector.checkpoint import Checkpoints
from projector.dead_letters import DeadLetters
from projector.metrics import JOURNAL_TIME, JOURNAL_XID
from projector.rewriter import Rewriter
from projector.sinks import Sink
from projector.source import JournalSource

_ACTIVE_FOR_S = 2.0
"""How long after a row the journal counts as active, in seconds."""

_CONFIRM_EVERY_S = 1.0
"""How often the lock's connection is tried while nothing is written on it, in seconds."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Polling:
    """Shortest pauses between polls that found the journal's end, in seconds."""

    active_s: float
    idle_s: float


class Pipeline:
    """One sink's feed.

    While there is more, the next page is read as the sink takes the present one. At the journal's
    end it reads again in time for what the sink shows next: what a page would cost before that,
    nobody would see.
    """

    def __init__(
        self,
        source: JournalSource,
        sink: Sink,
        checkpoints: Checkpoints,
        dead_letters: DeadLetters,
        rewriter: Rewriter,
        clock: Clock,
        polling: Polling,
    ) -> None:
        self._source = source
        self._sink = sink
        self._checkpoints = checkpoints
        self._dead_letters = dead_letters
        self._rewriter = rewriter
        self._clock = clock
        self._polling = polling
        self._active_until_s = 0.0
        self._confirmed_s = 0.0
        self._read_in_s = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the journal until `stop`; raises what source, sink and checkpoints raise."""
        position = await self._begin()
        coming = asyncio.create_task(self._read(position))
        try:
            while not stop.is_set():
                batch = await coming
                if batch.caught_up:
                    await self._feed(batch)
                    await self._rewriter.step(batch.position)
                    await asyncio.sleep(self._pause_s(batch))
                    coming = asyncio.create_task(self._read(batch.position))
                else:
                    coming = asyncio.create_task(self._read(batch.position))
                    await self._feed(batch)
                    await self._rewriter.step(batch.position)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _begin(self) -> Position:
        """Where to resume: at the checkpoint, unless the sink lost what it had."""
        checkpoint = await self._checkpoints.load()
        seen = await self._sink.start(checkpoint.epoch)
        if seen.xid == 0 and checkpoint.xid > 0:
            log.error("the sink is empty: filling it from the beginning", sink=self._sink.name)
            checkpoint = seen
            # Before anything is indexed: the sink must not look filled while the checkpoint still
            # stands where the lost one was.
            await self._checkpoints.save(checkpoint)
        log.info("following the journal", sink=self._sink.name, xid=checkpoint.xid)
        return checkpoint

    async def _read(self, after: Position) -> Batch:
        begun_s = self._clock.monotonic_s()
        batch = await self._source.read(after)
        self._read_in_s = self._clock.monotonic_s() - begun_s
        return batch

    def _pause_s(self, last: Batch) -> float:
        now_s = self._clock.monotonic_s()
        if last.documents:
            self._active_until_s = now_s + _ACTIVE_FOR_S
        polling = self._polling
        poll_s = polling.active_s if now_s < self._active_until_s else polling.idle_s
        return max(poll_s, self._sink.shows_in_s() - self._read_in_s)

    async def _feed(self, batch: Batch) -> None:
        # Before the sink has the documents, so that a crash forgets none of it.
        await self._rewriter.request(batch.rewrites)
        rejections = await self._sink.accept(batch)
        if rejections:
            await self._dead_letters.save(rejections, batch.position)
        if batch.written_us:
            await self._checkpoints.save(batch.position)
            JOURNAL_XID.set(batch.position.xid)
            JOURNAL_TIME.set(batch.written_us[-1] / 1e6)
        elif self._clock.monotonic_s() - self._confirmed_s >= _CONFIRM_EVERY_S:
            await self._checkpoints.confirm_connected()
        else:
            return
        self._confirmed_s = self._clock.monotonic_s()
