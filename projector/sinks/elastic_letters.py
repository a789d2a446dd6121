"""Dead letters of the index that operators want taken again or forgotten."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog

import database
from paycore.domain.position import Position
from paycore.runtime.database import is_away
from projector.batch import Document, DocumentKind
from projector.details import Opener
from projector.documents import account_document
from projector.errors import DeadLettersFullError, LedgerIncompleteError, SinkRefusedError
from projector.loader import Loader
from projector.sinks import Session

if TYPE_CHECKING:
    from projector.sinks.elastic import ElasticSink

FAILED = "failed"
"""How the outcome begins of a replay or a discard that could not be done."""

LETTERS = 500
"""Documents that are taken again at a time."""

log = structlog.get_logger()


class LetterDesk:
    """Does what was asked, on the connection of the session; says what came of it."""

    def __init__(self, session: Session, sink: ElasticSink, opener: Opener) -> None:
        self._session = session
        self._sink = sink
        self._opener = opener
        self._queries: Any = database.load("dead_letters")

    async def replay(self, request: Any, position: Position) -> str:
        """Take refused documents again, as they stand now; those that are taken are no letters."""
        return await self._or_fault(self._replay(request, position))

    async def discard(self, request: Any) -> str:
        """Forget letters."""
        return await self._or_fault(self._discard(request))

    async def _or_fault(self, work: Awaitable[str]) -> str:
        """What came of a request, or why it failed: one that is left open would be taken up again
        by every later session, before all that was asked after it.

        Raises what says that the database or the index is away: then it is not the request's fault.
        """
        try:
            return await work
        except (
            DeadLettersFullError,
            LedgerIncompleteError,
            SinkRefusedError,
            asyncpg.PostgresError,
        ) as error:
            if is_away(error):
                raise
            cause = type(error).__name__
            log.error("what was asked failed", sink=self._sink.name, cause=cause)
            # The text of a database's error may quote a row.
            told = "" if isinstance(error, asyncpg.PostgresError) else f": {error}"
            return f"{FAILED}: {cause}{told}"

    async def _replay(self, request: Any, position: Position) -> str:
        connection = self._session.connection
        taken = refused = 0
        for kind in DocumentKind:
            if request["kind"] not in (None, kind.value):
                continue
            after_id: int | None = -(2**63)
            while after_id is not None:
                letters = await self._queries.next_letters(
                    connection,
                    sink=self._sink.name,
                    kind=kind.value,
                    document_id=request["document_id"],
                    after_id=after_id,
                    most=LETTERS,
                )
                ids = [letter["document_id"] for letter in letters]
                after_id = ids[-1] if len(ids) == LETTERS else None
                if not ids:
                    continue
                rejections = await self._sink.rewrite(await self._documents(kind, ids))
                if rejections:
                    await self._session.dead_letters.save(rejections, position)
                still = {rejection.id for rejection in rejections}
                gone = [key for key in ids if key not in still]
                await self._queries.discard_letters(
                    connection, sink=self._sink.name, kind=kind.value, document_ids=gone
                )
                taken, refused = taken + len(gone), refused + len(still)
        return f"taken {taken}, refused again {refused}"

    async def _discard(self, request: Any) -> str:
        gone = await self._queries.discard_asked(
            self._session.connection,
            sink=self._sink.name,
            kind=request["kind"],
            document_id=request["document_id"],
        )
        return f"discarded {len(gone)}"

    async def _documents(self, kind: DocumentKind, ids: Sequence[int]) -> Sequence[Document]:
        connection = self._session.connection
        if kind is DocumentKind.ACCOUNT:
            rows = await database.load("projector").load_accounts(connection, ids=list(ids))
            return [account_document(row) for row in rows]
        return (await Loader(connection, self._opener).transfers_and_declines(ids)).items
