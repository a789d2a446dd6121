"""Elasticsearch as a sink: indexes, refreshes, and says up to where everything can be found."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import asyncpg

from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from paycore.runtime.elastic import ElasticAddress, open_client
from projector.batch import Batch, Document
from projector.loader import Loader
from projector.metrics import BULK_SECONDS, DOCUMENTS, LAG_SECONDS, REFRESH_SECONDS
from projector.personal import DetailsOpener
from projector.readiness import Readiness
from projector.rewriter import Rewriter
from projector.sinks import Rejection, Session
from projector.sinks.elastic_bulk import (
    REPLY_FIELDS,
    VersionType,
    chunks,
    request_body,
    sort_items,
)
from projector.sinks.elastic_indices import Indices
from projector.sinks.elastic_position import PositionDocument
from projector.sinks.elastic_requests import AnswerIncompleteError, ElasticPersistence
from projector.sinks.sent_versions import SentVersions

NAME = "elasticsearch"

REQUEST_TIMEOUT_S = 30.0
_SHARD_TIMEOUT = "20s"
"""How long Elasticsearch itself waits for a shard before it answers 503."""

POSITION_EVERY_S = 1.0
"""How often the positions document is brought up to date while the journal rests, in seconds."""

_BULK_HEADERS = {
    "accept": "application/vnd.elasticsearch+json; compatible-with=9",
    "content-type": "application/vnd.elasticsearch+x-ndjson; compatible-with=9",
}


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
    name: str = NAME
    """The sink's, under which its position stands in the index."""


class ElasticSink:
    """The indices of one prefix, for one session."""

    def __init__(
        self,
        settings: ElasticSettings,
        opener: DetailsOpener,
        clock: Clock,
        readiness: Readiness,
        chance: random.Random,
    ) -> None:
        self._settings = settings
        self._opener = opener
        self._clock = clock
        self._persistence = ElasticPersistence(readiness, chance)
        self._client = open_client(
            settings.address,
            connections=settings.bulks_in_flight + 1,
            request_timeout_s=REQUEST_TIMEOUT_S,
        )
        self._indices = Indices(self._client, settings.prefix)
        self._position = PositionDocument(
            self._client, self._persistence, self._indices.positions, settings.name
        )
        self._rewriter: Rewriter | None = None
        self._sent = SentVersions()
        self._seen = Position(0, 0, 0)
        self._unseen_us: list[int] = []
        # What an earlier session indexed may not have been refreshed.
        self._refresh_needed = True
        self._refreshed_s = 0.0
        self._refreshed_us = 0
        self._position_written_s = 0.0

    @property
    def name(self) -> str:
        """The key of its checkpoint and its lock."""
        return self._settings.name

    def decoder(self, connection: asyncpg.Connection) -> Loader:
        """Makes documents."""
        return Loader(connection, self._opener)

    async def start(self, session: Session) -> Position:
        """Make the indices where absent; returns up to where they can be searched.

        Raises EpochChangedError when they were filled from another epoch, SinkRefusedError when
        their mappings cannot become those of the files.
        """
        epoch = session.epoch
        self._rewriter = Rewriter(session, self._opener, self, self._clock)

        async def begin() -> Position:
            await self._indices.ensure(lambda: self._position.reset(epoch))
            return await self._position.begin(epoch)

        self._seen = await self._persistence.request("start", begin)
        return self._seen

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
            rejections = await self._index(documents)
            self._sent.note(documents)
            self._refresh_needed = True
            self._unseen_us.extend(batch.written_us)
        now_s = self._clock.monotonic_s()
        if self._refresh_needed:
            gap_s = (
                self._settings.refresh_gap_s
                if batch.caught_up
                else self._settings.refresh_gap_behind_s
            )
            if now_s - self._refreshed_s >= gap_s:
                await self._refresh()
                await self._tell(batch)
        elif batch.caught_up and now_s - self._position_written_s >= POSITION_EVERY_S:
            await self._tell(batch)
        return rejections

    async def tend(self, position: Position) -> None:
        """Write again some documents whose personal data is to be shown anew."""
        assert self._rewriter is not None
        await self._rewriter.step(position)

    async def rewrite(self, documents: Sequence[Document]) -> Sequence[Rejection]:
        """Index `documents` over copies of the same version; they are found after a refresh."""
        rejections = await self._index(documents, VersionType.SAME_OR_NEWER)
        self._refresh_needed = True
        return rejections

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _index(
        self, documents: Sequence[Document], versions: VersionType = VersionType.NEWER
    ) -> list[Rejection]:
        requests = chunks(documents, self._settings.bulk_documents, self._settings.bulk_bytes)
        rejections: list[Rejection] = []

        async def work_off() -> None:
            for request in requests:
                rejections.extend(await self._bulk(request, versions))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._settings.bulks_in_flight):
                    group.create_task(work_off())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return rejections

    async def _bulk(self, documents: Sequence[Document], versions: VersionType) -> list[Rejection]:
        """Send `documents` until each is indexed, known already, or rejected for good."""
        rejections: list[Rejection] = []
        backoff = self._persistence.backoff()
        while True:
            body = request_body(documents, self._indices.aliases, versions)
            reply = await self._persistence.request("bulk", lambda body=body: self._post(body))  # type: ignore[misc]
            outcome = sort_items(documents, reply)
            self._count(outcome.indexed, "indexed")
            self._count(outcome.already_applied, "already_applied")
            self._count(outcome.rejected, "dead_letter")
            rejections.extend(outcome.rejected)
            if not outcome.again:
                self._persistence.cleared("bulk items")
                return rejections
            await self._persistence.pause("bulk items", min(outcome.causes), backoff)
            documents = outcome.again

    async def _post(self, body: bytes) -> Mapping[str, Any]:
        begun = perf_counter()
        # Without require_alias a write to a lost index would make a new one, of any mapping.
        reply = await self._client.perform_request(
            "POST",
            "/_bulk",
            params={
                "require_alias": "true",
                "timeout": _SHARD_TIMEOUT,
                "filter_path": REPLY_FIELDS,
            },
            headers=_BULK_HEADERS,
            body=body,
        )
        BULK_SECONDS.labels(self.name).observe(perf_counter() - begun)
        content: Mapping[str, Any] = reply.body
        return content

    async def _refresh(self) -> None:
        async def attempt() -> None:
            reply = await self._client.indices.refresh(
                index=list(self._indices.aliases.values()), allow_no_indices=False
            )
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
            lag.observe(max(0, self._refreshed_us - written_us) / 1e6)
        self._unseen_us.clear()

    async def _tell(self, batch: Batch[Document]) -> None:
        """Write the positions document: everything up to `batch` was refreshed."""
        # A session that begins before the position told last indexes again what is there.
        self._seen = max(self._seen, batch.position)
        await self._position.write(self._seen, self._refreshed_us, batch.source_time_us)
        self._position_written_s = self._clock.monotonic_s()

    def _count(self, documents: Sequence[Document] | Sequence[Rejection], result: str) -> None:
        for kind, number in Counter(document.kind for document in documents).items():
            DOCUMENTS.labels(self.name, kind, result).inc(number)
