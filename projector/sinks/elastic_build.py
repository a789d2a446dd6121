"""Fills a fresh generation of the index from the ledger's tables, beside the feed.

The feed writes the new generation too, from before the filling begins: whatever the tables did not
have when the filling passed comes by the journal, and versions settle which copy is the newer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

import database
from projector.batch import Decoded, Document
from projector.documents import account_document
from projector.generations import PHASES, Generation, Generations
from projector.loader import Loader
from projector.metrics import BUILD_DOCUMENTS, BUILD_EXPECTED

CHECK = PHASES[-1]
_LOG_EVERY = 250_000

Write = Callable[[Sequence[Document]], Awaitable[None]]
Request = Callable[[frozenset[int]], Awaitable[None]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Page:
    """Some documents of a phase; `last_id` is where the next one goes on, None at the end."""

    decoded: Decoded[Document]
    last_id: int | None


class Filling:
    """One build's filling, on a connection of its own. It goes on where an earlier one ended."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        loader: Loader,
        generations: Generations,
        sink: str,
        *,
        page_documents: int,
    ) -> None:
        self._connection = connection
        self._loader = loader
        self._generations = generations
        self._sink = sink
        self._most = page_documents
        self._queries: Any = database.load("generations")
        self._projector: Any = database.load("projector")

    async def run(self, building: Generation, write: Write, rewrite_later: Request) -> None:
        """Write every document of the ledger. Raises what `write` and asyncpg raise.

        Memory is bounded: a page is read while the one before is written.
        """
        documents, logged = building.documents, building.documents
        # What is posted from now on comes by the feed alone: the filling does not run after it.
        until = await self._queries.last_ids(self._connection)
        begun = PHASES.index(building.phase)
        for phase in PHASES[begun:-1]:
            after_id = building.after_id if phase == building.phase else 0
            until_id = until[phase] or 0
            coming = asyncio.create_task(self._page(phase, after_id, until_id))
            try:
                while True:
                    page = await coming
                    if page.last_id is not None:
                        coming = asyncio.create_task(self._page(phase, page.last_id, until_id))
                    await rewrite_later(page.decoded.withheld)
                    await write(page.decoded.items)
                    documents += len(page.decoded.items)
                    BUILD_DOCUMENTS.labels(self._sink).set(documents)
                    BUILD_EXPECTED.labels(self._sink).set(max(documents, building.expected))
                    if page.last_id is None:
                        break
                    # Between two statements of the reading: the connection is one.
                    page_ahead = await coming
                    await self._generations.advance(building.number, phase, page.last_id, documents)
                    coming = asyncio.create_task(_give(page_ahead))
                    if documents - logged >= _LOG_EVERY:
                        logged = documents
                        log.info("building the index", documents=documents, phase=phase)
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
            following = PHASES[PHASES.index(phase) + 1]
            await self._generations.advance(building.number, following, 0, documents)

    async def _page(self, phase: str, after_id: int, until_id: int) -> Page:
        find = getattr(self._queries, f"next_{phase}")
        rows = await find(self._connection, after_id=after_id, until_id=until_id, most=self._most)
        ids = [row["id"] for row in rows]
        last_id = ids[-1] if len(ids) == self._most else None
        if phase == "accounts":
            found = await self._projector.load_accounts(self._connection, ids=ids) if ids else []
            return Page(Decoded([account_document(row) for row in found]), last_id)
        if not ids:
            return Page(Decoded([]), None)
        return Page(await self._loader.transfers_and_declines(ids), last_id)


async def _give(page: Page) -> Page:
    return page
