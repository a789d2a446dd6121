"""Bulk requests that are sent until every item of theirs is settled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from elasticsearch import AsyncElasticsearch

from projector.batch import Document
from projector.metrics import BULK_SECONDS, DOCUMENTS
from projector.sinks import Rejection
from projector.sinks.elastic_bulk import (
    REPLY_FIELDS,
    VersionType,
    chunks,
    request_body,
    sort_items,
)
from projector.sinks.elastic_layout import Layout
from projector.sinks.elastic_requests import ElasticPersistence

_SHARD_TIMEOUT = "20s"
"""How long Elasticsearch itself waits for a shard before it answers 503."""

_BULK_HEADERS = {
    "accept": "application/vnd.elasticsearch+json; compatible-with=9",
    "content-type": "application/vnd.elasticsearch+x-ndjson; compatible-with=9",
}


class BulkWriter:
    """Writes documents into generations of the index, some requests at a time."""

    def __init__(
        self,
        client: AsyncElasticsearch,
        persistence: ElasticPersistence,
        sink: str,
        *,
        documents: int,
        size_bytes: int,
        in_flight: int,
    ) -> None:
        self._client = client
        self._persistence = persistence
        self._sink = sink
        self._documents = documents
        self._bytes = size_bytes
        self._in_flight = in_flight
        self._bulk_seconds = BULK_SECONDS.labels(sink)

    async def write(
        self,
        layout: Layout,
        documents: Sequence[Document],
        versions: VersionType = VersionType.NEWER,
    ) -> list[Rejection]:
        """Index `documents`; returns those that never will be.

        Raises SinkLostError when an index is gone, SinkRefusedError when a request is refused.
        """
        requests = chunks(documents, self._documents, self._bytes)
        rejections: list[Rejection] = []

        async def work_off() -> None:
            for request in requests:
                rejections.extend(await self._bulk(layout, request, versions))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._in_flight):
                    group.create_task(work_off())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return rejections

    async def _bulk(
        self, layout: Layout, documents: Sequence[Document], versions: VersionType
    ) -> list[Rejection]:
        """Send `documents` until each is indexed, known already, or rejected for good."""
        rejections: list[Rejection] = []
        backoff = self._persistence.backoff()
        while True:
            body = request_body(documents, layout, versions)
            reply = await self._persistence.request("bulk", partial(self._post, body))
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
        self._bulk_seconds.observe(perf_counter() - begun)
        content: Mapping[str, Any] = reply.body
        return content

    def _count(self, documents: Sequence[Document] | Sequence[Rejection], result: str) -> None:
        for kind, number in Counter(document.kind for document in documents).items():
            DOCUMENTS.labels(self._sink, kind, result).inc(number)
