"""The read side from an operator's desk: generations of the index, requests, dead letters.

Read, and asked for, as role paycore_operator, who can change nothing itself: the projector does
what is asked, and answers in the request's row, which is kept.
"""

from __future__ import annotations

import asyncio
import getpass
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

import database
from operations.deployment import Deployment
from operations.errors import UnavailableError, UsageError

CONNECT_TIMEOUT_S = 5.0
POLL_S = 0.25
INDEX = "elasticsearch"
_LOWEST = -(2**63)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class GenerationView:
    """One generation of the index."""

    generation: int
    state: str
    epoch: int
    months: Sequence[str]
    reason: str
    phase: str
    documents: int
    expected: int
    created_at: datetime
    switched_at: datetime | None


@dataclass(frozen=True, slots=True)
class RequestView:
    """What was asked of the projector, and what came of it."""

    id: int
    sink: str
    action: str
    kind: str | None
    document_id: int | None
    reason: str
    requested_by: str
    requested_at: datetime
    ended_at: datetime | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that a sink refused for good."""

    sink: str
    kind: str
    document_id: int
    version: int
    error_type: str
    reason: str
    failures: int
    first_failed_at: datetime
    last_failed_at: datetime


@dataclass(frozen=True, slots=True)
class Letters:
    """Some letters, and how many there are from the first of them on."""

    letters: Sequence[Letter]
    all_letters: int


class ProjectionDesk:
    """One connection; use `open_desk`."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._queries: Any = database.load("projection_desk")

    async def generations(self, sink: str = INDEX) -> list[GenerationView]:
        """What the index consists of, the oldest first."""
        rows = await self._queries.generations(self._connection, sink=sink)
        return [GenerationView(**row) for row in rows]

    async def requests(self, sink: str, most: int) -> list[RequestView]:
        """What was asked last, the newest first."""
        rows = await self._queries.requests(self._connection, sink=sink, most=most)
        return [RequestView(**row) for row in rows]

    async def ask(
        self,
        action: str,
        reason: str,
        sink: str = INDEX,
        kind: str | None = None,
        document_id: int | None = None,
    ) -> int:
        """Ask the projector for something; returns the request's id. Raises UsageError."""
        try:
            asked: int = await self._queries.ask(
                self._connection,
                sink=sink,
                action=action,
                kind=kind,
                document_id=document_id,
                reason=reason,
                requested_by=getpass.getuser()[:64],
            )
        except asyncpg.CheckViolationError as error:
            raise UsageError("the reason has 1 to 256 characters, a name up to 64") from error
        return asked

    async def outcome(self, request: int, wait_s: float, progress: Progress) -> RequestView:
        """The request once it has ended, or as it is after `wait_s`."""
        give_up_s = time.monotonic() + wait_s
        while True:
            row = await self._queries.request(self._connection, id=request)
            view = RequestView(**row)
            if view.ended_at is not None or time.monotonic() >= give_up_s:
                return view
            for one in await self.generations(view.sink):
                if one.state == "BUILDING":
                    progress(one.documents, max(one.documents, one.expected))
            await asyncio.sleep(POLL_S)

    async def letters(
        self, sink: str, kind: str | None, after_id: int | None, most: int
    ) -> Letters:
        """Dead letters by id."""
        rows = await self._queries.letters(
            self._connection,
            sink=sink,
            kind=kind,
            after_id=_LOWEST if after_id is None else after_id,
            most=most,
        )
        return _letters(rows)

    async def letter(self, sink: str, document_id: int) -> Letters:
        """Those of one id: none, or one a kind."""
        rows = await self._queries.letter(self._connection, sink=sink, document_id=document_id)
        return _letters(rows)


@asynccontextmanager
async def open_desk(deployment: Deployment) -> AsyncIterator[ProjectionDesk]:
    """The desk of `deployment`. Raises UsageError, UnavailableError."""
    if deployment.operator_dsn is None:
        raise UsageError("the projector is asked by the database: set PAYCORE_OPERATOR_DSN")
    try:
        connection = await asyncpg.connect(deployment.operator_dsn, timeout=CONNECT_TIMEOUT_S)
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise UnavailableError(f"PostgreSQL cannot be reached: {error}") from error
    try:
        yield ProjectionDesk(connection)
    finally:
        await connection.close()


def _letters(rows: Sequence[Any]) -> Letters:
    found = [
        Letter(**{name: value for name, value in row.items() if name != "all_letters"})
        for row in rows
    ]
    return Letters(found, rows[0]["all_letters"] if rows else 0)
