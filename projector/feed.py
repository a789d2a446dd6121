"""Feeds one sink: leads or stands by, session after session, until told to stop."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import asyncpg
import structlog

from paycore.runtime.clock import Clock
from paycore.runtime.database import DISCONNECTED
from paycore.runtime.schema import SchemaUnfitError, check_schema
from projector.backoff import Backoff
from projector.behind import Behind
from projector.checkpoint import Checkpoints
from projector.dead_letters import DeadLetters
from projector.errors import (
    ChainCutError,
    DeadLettersFullError,
    LeadershipLostError,
    LedgerIncompleteError,
    SinkLostError,
    SinkRefusedError,
)
from projector.leadership import Leadership, connection
from projector.metrics import SESSIONS
from projector.pipeline import Pipeline, Polling
from projector.readiness import Readiness
from projector.settings import ProjectorSettings
from projector.sinks import Session
from projector.sinks.catalogue import MakeSink
from projector.source import JournalSource

_APPLICATION = "paycore projector"
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_STABLE_AFTER_S = 30.0
"""A session that lasted so long is followed by the next with the shortest delay, in seconds."""

_PASSING = (
    *DISCONNECTED,
    asyncpg.PostgresError,
    ChainCutError,
    DeadLettersFullError,
    LeadershipLostError,
    LedgerIncompleteError,
    SchemaUnfitError,
    SinkLostError,
    SinkRefusedError,
)
"""What is known to end sessions: the next one begins at the checkpoint."""

log = structlog.get_logger()


class Feed:
    """Feeds one sink while it leads. What befalls it is no other feed's affair."""

    def __init__(
        self,
        settings: ProjectorSettings,
        make_sink: MakeSink,
        clock: Clock,
        readiness: Readiness,
        chance: random.Random,
    ) -> None:
        self._settings = settings
        self._dsn = settings.postgres_dsn.get_secret_value()
        self._make_sink = make_sink
        self._clock = clock
        self._readiness = readiness
        self._backoff = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S, chance)
        self._behind = Behind(readiness.sink, clock)
        self._log = log.bind(sink=readiness.sink)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`. Whatever ends a session, the next one begins after a pause."""
        while not stop.is_set():
            begun_s = self._clock.monotonic_s()
            try:
                await self._session(stop)
                SESSIONS.labels(self._readiness.sink, "stopped").inc()
            except Exception as error:
                self._ended(error)
                if self._clock.monotonic_s() - begun_s >= _STABLE_AFTER_S:
                    self._backoff.reset()
                await _wait(stop, self._backoff.next_s())
        self._readiness.not_standing()

    def _ended(self, error: Exception) -> None:
        cause = type(error).__name__
        SESSIONS.labels(self._readiness.sink, cause).inc()
        self._readiness.not_standing()
        self._readiness.obstructed("session", cause)
        if isinstance(error, DISCONNECTED):
            self._log.warning("session ended", cause=cause)
        elif isinstance(error, _PASSING):
            self._log.error("session ended", cause=cause, error=_told(error))
        else:
            # A defect: it blocks its own sink, and is seen there.
            self._log.exception("session failed", cause=cause)

    async def _session(self, stop: asyncio.Event) -> None:
        sink = self._make_sink(self._readiness)
        async with AsyncExitStack() as stack:
            held = await stack.enter_async_context(connection(self._dsn, _APPLICATION))
            # Before the connections are closed, which its work beside the feed may use.
            stack.push_async_callback(sink.stop)
            await check_schema(held)
            leadership = Leadership.over(held, sink.name)
            if not await self._lead(leadership, stop):
                return
            reading = await stack.enter_async_context(connection(self._dsn, _APPLICATION))
            checkpoints = Checkpoints(held, sink.name)
            epoch = await checkpoints.epoch()
            dead_letters = DeadLetters(held, sink.name, limit=self._settings.dead_letter_limit)
            pipeline = Pipeline(
                JournalSource(
                    reading,
                    sink.decoder(reading),
                    self._clock,
                    sink=sink.name,
                    epoch=epoch,
                    page_entries=self._settings.page_entries,
                ),
                sink,
                checkpoints,
                Session(epoch, held, dead_letters, partial(connection, self._dsn, _APPLICATION)),
                self._clock,
                Polling(self._settings.poll_active_s, self._settings.poll_idle_s),
                self._started,
                self._behind,
            )
            await self._feed(pipeline, leadership, stop)

    async def _lead(self, leadership: Leadership, stop: asyncio.Event) -> bool:
        """Stand by until the lock is held; False when told to stop before."""
        waited = False
        while not stop.is_set():
            if await leadership.try_lead():
                self._readiness.leading()
                self._log.info("leading", after_stand_by=waited)
                return True
            if not waited:
                waited = True
                self._readiness.standing_by()
                self._behind.not_leading()
                self._readiness.cleared("session")
                self._log.info("standing by: another projector leads")
            await _wait(stop, self._settings.stand_by_poll_s)
        return False

    def _started(self) -> None:
        self._readiness.started()
        self._readiness.cleared("session")

    async def _feed(
        self, pipeline: Pipeline[Any], leadership: Leadership, stop: asyncio.Event
    ) -> None:
        """Run `pipeline` until `stop`, and not a moment longer than the lock is held."""
        feeding = asyncio.create_task(pipeline.run(stop))
        lost = asyncio.create_task(leadership.lost.wait())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({feeding, lost, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set() and not lost.done():
                # A batch under way is worth finishing; one that waits for an outage is not.
                await asyncio.wait(
                    {feeding, lost},
                    timeout=self._settings.shutdown_grace_s / 2,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if feeding.done():
                feeding.result()
            elif lost.done():
                raise LeadershipLostError("the connection that held the lock is gone")
        finally:
            for task in (feeding, lost, stopping):
                task.cancel()
            await asyncio.gather(feeding, lost, stopping, return_exceptions=True)


async def _wait(stop: asyncio.Event, at_most_s: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), at_most_s)
    except TimeoutError:
        return


def _told(error: BaseException) -> str:
    """What may stand in a log: our own errors' text; PostgreSQL's may quote values."""
    return "" if isinstance(error, asyncpg.PostgresError) else str(error)
