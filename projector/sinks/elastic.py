"""Elasticsearch as a sink: indexes, refreshes, and says up to where everything can be found."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import asyncpg
from elasticsearch import AsyncElasticsearch

import database
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from paycore.runtime.elastic import ElasticAddress, open_client
from projector.batch import Batch, Document, DocumentKind
from projector.checkpoint import Checkpoints
from projector.details import Opener
from projector.generations import Generations
from projector.lag_window import LagWindow
from projector.loader import Loader
from projector.metrics import GENERATION, LAG_SECONDS, REFRESH_SECONDS
from projector.readiness import Readiness
from projector.rewriter import Rewriter
from projector.sinks import Rejection, Session
from projector.sinks.elastic_bulk import VersionType
from projector.sinks.elastic_generations import EPOCH, MAPPING, Roster
from projector.sinks.elastic_indices import Indices
from projector.sinks.elastic_layout import alias, month_start_us
from projector.sinks.elastic_mappings import Difference
from projector.sinks.elastic_position import PositionDocument
from projector.sinks.elastic_requests import AnswerIncompleteError, ElasticPersistence
from projector.sinks.elastic_upkeep import Upkeep, UpkeepSettings
from projector.sinks.elastic_writer import BulkWriter
from projector.sinks.sent_versions import SentVersions

NAME = "elasticsearch"

REQUEST_TIMEOUT_S = 30.0

POSITION_EVERY_S = 1.0
"""How often the positions document is brought up to date while the journal rests, in seconds."""

_CONNECTIONS_BESIDE = 4
"""For refreshes, positions, and work beside the feed."""


@dataclass(frozen=True, slots=True)
class ElasticSettings:
    """Where the index is, and the bounds on what is sent to it."""

    address: ElasticAddress
    prefix: str
    bulk_documents: int
    bulk_bytes: int
    bulks_in_flight: int
    refresh_gap_s: float
    """Shortest time between refreshes once caught up, in seconds."""
    refresh_gap_behind_s: float
    """The same while catching up."""
    months_kept: int
    """How many months of transfers are kept, with the present one; 0 keeps all."""
    grace_s: float
    """How long an index that was replaced is left to those who still read it, in seconds."""
    reset_pause_s: float
    """How long a lost index is told to be empty before it is made again, in seconds."""
    upkeep: UpkeepSettings
    name: str = NAME
    """The sink's, under which its position stands in the index."""


class ElasticSink:
    """The indices of one prefix, for one session."""

    def __init__(
        self,
        settings: ElasticSettings,
        opener: Opener,
        clock: Clock,
        readiness: Readiness,
        chance: random.Random,
    ) -> None:
        self._settings = settings
        self._opener = opener
        self._clock = clock
        self._persistence = ElasticPersistence(readiness, chance)
        # A build that waits says so in its own name, and takes no word of the feed's back.
        self._client = open_client(
            settings.address,
            connections=2 * settings.bulks_in_flight + _CONNECTIONS_BESIDE,
            request_timeout_s=REQUEST_TIMEOUT_S,
        )
        self.writer = self._writer(self._client)
        self._indices = Indices(self._client, settings.prefix)
        self._position = PositionDocument(
            self._client, self._persistence, self._indices.positions, settings.name
        )
        self._sent = SentVersions()
        self._seen = Position(0, 0, 0)
        self.accepted = Position(0, 0, 0)
        """Everything up to there was written; not all of it can be searched yet."""
        self._source_time_us = 0
        self._unseen_us: list[int] = []
        self._lags = LagWindow(clock)
        # What an earlier session indexed may not have been refreshed.
        self._refresh_needed = True
        self._refreshed_s = 0.0
        self._refreshed_us = 0
        self._position_written_s = 0.0
        # What was dropped does not come back when more months are kept: only a build brings it.
        self._dropped_before_us = 0
        self._epoch = 0
        self._roster: Roster | None = None
        self._rewriter: Rewriter | None = None
        self._upkeep: Upkeep | None = None

    @property
    def name(self) -> str:
        """The key of its checkpoint and its lock."""
        return self._settings.name

    @property
    def roster(self) -> Roster:
        """The generations that are written."""
        assert self._roster is not None
        return self._roster

    @property
    def client(self) -> AsyncElasticsearch:
        """For work beside the feed."""
        return self._client

    @property
    def persistence(self) -> ElasticPersistence:
        """Repeats requests."""
        return self._persistence

    def decoder(self, connection: asyncpg.Connection) -> Loader:
        """Makes documents."""
        return Loader(connection, self._opener)

    async def start(self, session: Session) -> Position:
        """Make the indices where absent; returns up to where they can be searched.

        In another epoch than the index is of, a build begins and the present end of the journal is
        returned: what is before it comes by the build. Raises SinkRefusedError.
        """
        self._epoch = session.epoch
        roster = Roster(
            self._indices,
            Generations(session.connection, self.name),
            self._clock,
            months_kept=self._settings.months_kept,
            grace_s=self._settings.grace_s,
        )
        self._roster = roster
        self._rewriter = Rewriter(session, self._opener, self, self._clock)
        self._upkeep = Upkeep(session, self, self._opener, self._settings.upkeep, self._clock)
        self._seen = await self._persistence.request("start", self._begin)
        assert roster.serving is not None
        GENERATION.labels(self.name).set(roster.serving.number)
        if roster.serving.epoch == session.epoch:
            if self._seen.epoch == session.epoch:
                return self._seen
            # A crash came after the switch to what was built in this epoch and before its position
            # was told: all that was accepted is there.
            self._seen = Position.beginning(session.epoch)
            checkpoint = await Checkpoints(session.connection, self.name).load()
            return max(self._seen, checkpoint)
        self._seen = Position.beginning(session.epoch)
        end = await database.load("generations").journal_end(session.connection)
        return Position(session.epoch, end["xid"], end["id"]) if end else self._seen

    async def _begin(self) -> Position:
        roster = self.roster
        await self._indices.ensure_positions()
        told = await self._position.find()
        self._dropped_before_us = self._position.from_us
        whole = await roster.start(self._epoch, told.epoch if told else self._epoch)
        if not whole or told is None:
            # Before an index is made: a crash between the two leaves one that is known to be empty.
            await self._position.reset(self._epoch)
            self._dropped_before_us = 0
            if told is not None and not told.is_beginning:
                # Nor may readers search an empty index while they go by the position of a full one.
                await asyncio.sleep(self._settings.reset_pause_s)
            await roster.make_serving(self._epoch)
            told = Position.beginning(self._epoch)
        assert roster.serving is not None
        difference = await roster.difference()
        if roster.building is None:
            if roster.serving.epoch != self._epoch:
                await roster.begin_build(EPOCH, self._epoch)
            elif difference is Difference.REBUILD:
                await roster.begin_build(MAPPING, self._epoch)
        await roster.tend()
        return told

    async def accept(self, batch: Batch[Document]) -> Sequence[Rejection]:
        """Index `batch`; refresh and tell the position where it is time to.

        Raises SinkLostError when an index is gone, SinkRefusedError when a request is refused.
        """
        assert self._rewriter is not None
        # Before the documents are there, so that a crash forgets none of it.
        await self._rewriter.request(batch.rewrites)
        rejections: Sequence[Rejection] = ()
        if batch.items:
            documents = self._sent.unsent(batch.items)
            rejections = await self._write(documents)
            self._sent.note(documents)
            self._refresh_needed = True
            self._unseen_us.extend(batch.written_us)
        self.accepted = max(self.accepted, batch.position)
        self._source_time_us = batch.source_time_us
        now_s = self._clock.monotonic_s()
        if self._refresh_needed:
            gap_s = (
                self._settings.refresh_gap_s
                if batch.caught_up
                else self._settings.refresh_gap_behind_s
            )
            if now_s - self._refreshed_s >= gap_s:
                await self.publish()
        elif batch.caught_up and now_s - self._position_written_s >= POSITION_EVERY_S:
            await self._tell()
        return rejections

    async def tend(self, position: Position) -> None:
        """Write again what is to be shown anew; see to requests, builds and checks."""
        assert self._rewriter is not None
        assert self._upkeep is not None
        await self._rewriter.step(position)
        await self._upkeep.step(position)

    async def rewrite(self, documents: Sequence[Document]) -> Sequence[Rejection]:
        """Index `documents` over copies of the same version; they are found after a refresh."""
        rejections = await self._write(documents, VersionType.SAME_OR_NEWER)
        self._refresh_needed = True
        return rejections

    async def publish(self) -> None:
        """Refresh, and tell that everything accepted can be found."""
        await self._refresh()
        await self._tell()

    async def serve_build(self) -> None:
        """Let the generation that was built take the place of the one that serves.

        No reader goes back in time: it has been written along with the other, and is refreshed
        before the switch, which comes before any later position is told.
        """
        await self._refresh()
        roster = self.roster
        await self._persistence.request("switch", lambda: roster.serve_build(self._epoch))
        assert roster.serving is not None
        GENERATION.labels(self.name).set(roster.serving.number)
        self._dropped_before_us = 0
        await self._tell()

    async def stop(self) -> None:
        """End the work beside the feed, and close the connections."""
        try:
            if self._upkeep is not None:
                await self._upkeep.stop()
        finally:
            await self._client.close()

    async def _write(
        self, documents: Sequence[Document], versions: VersionType = VersionType.NEWER
    ) -> list[Rejection]:
        kept = self.roster.kept(documents)
        rejections: dict[tuple[str, int], Rejection] = {}
        for layout in self.roster.written:
            await self._persistence.request(
                "index",
                partial(self.roster.make_room, layout, kept),
            )
            for rejection in await self.writer.write(layout, kept, versions):
                rejections[rejection.kind, rejection.id] = rejection
        return list(rejections.values())

    def _writer(self, client: AsyncElasticsearch) -> BulkWriter:
        return BulkWriter(
            client,
            self._persistence,
            self.name,
            documents=self._settings.bulk_documents,
            size_bytes=self._settings.bulk_bytes,
            in_flight=self._settings.bulks_in_flight,
        )

    async def _refresh(self) -> None:
        names = [alias(self._settings.prefix, kind) for kind in DocumentKind]
        building = self.roster.building
        if building is not None:
            layout = self.roster.layout(building)
            names += [layout.searched(kind) for kind in DocumentKind]

        async def attempt() -> None:
            reply = await self._client.indices.refresh(index=names, allow_no_indices=False)
            if reply["_shards"]["failed"]:
                raise AnswerIncompleteError("not every shard was refreshed")

        begun = perf_counter()
        await self._persistence.request("refresh", attempt)
        REFRESH_SECONDS.labels(self.name).observe(perf_counter() - begun)
        self._refresh_needed = False
        self._refreshed_s = self._clock.monotonic_s()
        self._refreshed_us = self._clock.now_us()
        lag = LAG_SECONDS.labels(self.name)
        for written_us in self._unseen_us:
            lag_us = max(0, self._refreshed_us - written_us)
            lag.observe(lag_us / 1e6)
            self._lags.observe(lag_us)
        self._unseen_us.clear()

    async def _tell(self) -> None:
        """Write the positions document: everything that was accepted was refreshed."""
        serving = self.roster.serving
        assert serving is not None
        if serving.epoch != self._epoch:
            # What serves is of another history: it stands where it stood.
            return
        # A session that begins before the position told last indexes again what is there.
        self._seen = max(self._seen, self.accepted)
        oldest = self.roster.oldest_month()
        await self._position.write(
            self._seen,
            self._refreshed_us,
            self._source_time_us,
            max(self._dropped_before_us, month_start_us(oldest) if oldest else 0),
            self._lags.summary(),
        )
        self._position_written_s = self._clock.monotonic_s()
        self.roster.told(oldest)
