"""Bounded, typed access to the ledger: every reading is of one snapshot, says how far that is, and
ends by its deadline in an answer or in a PaycoreError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import structlog

import database
from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from paycore.runtime.database import DISCONNECTED, LazyPool
from paycore.runtime.pools import PoolName
from query_service.positions import QUERY_MARGIN_S, QUERY_MARGIN_SHARE
from query_service.readers.port import Freshness, ReadTerms

SOURCE = "postgresql"

CONNECTIONS = 8
MAX_UNDER_WAY = 256
"""Readings that may run or wait for a connection; more are refused."""

MAX_WAIT_S = 10.0
"""No reading takes longer, whatever its caller's deadline."""

ANSWER_MARGIN_S = 0.02
ANSWER_MARGIN_SHARE = 0.1
"""What a reading leaves of the call's time, so that the refusal still reaches the caller: the
larger of the two.
"""

LOOK_AGAIN_S = 0.02
"""Between two looks whether a replica has reached a position."""

RETRY_AFTER_MS = 250

_NOTHING = Position(0, 0, 0)

log = structlog.get_logger()


class Snapshot(NamedTuple):
    """A transaction that sees one state of the ledger, and how fresh that is."""

    connection: asyncpg.Connection
    freshness: Freshness


class Snapshots:
    """Reads from one server, as role paycore_query."""

    def __init__(self, dsn: str, clock: Clock) -> None:
        self._pool = LazyPool(
            dsn,
            size=CONNECTIONS,
            name=PoolName.HISTORY,
            application="query-history",
            command_timeout_s=MAX_WAIT_S,
        )
        self._clock = clock
        self._queries: Any = database.load("history")
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """Readings that run or wait for a connection now."""
        return self._under_way

    async def close(self) -> None:
        """Close the connections, within MAX_WAIT_S."""
        await self._pool.close()

    @asynccontextmanager
    async def read(self, terms: ReadTerms) -> AsyncIterator[Snapshot]:
        """A snapshot in which `terms.min_position` stands.

        Raises PaycoreError: INDEX_BEHIND when no snapshot has it in time, DATABASE_UNAVAILABLE,
        OVERLOADED, DEADLINE_EXCEEDED, or INVALID_FIELD when it is of an earlier epoch.
        """
        if self._under_way >= MAX_UNDER_WAY:
            raise PaycoreError(Reason.OVERLOADED, "too many readings are under way")
        wait_s = self._wait_s(terms)
        self._under_way += 1
        try:
            async with asyncio.timeout(wait_s):
                await self._await_position(terms)
                async with self._snapshot(terms) as snapshot:
                    yield snapshot
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            if isinstance(error, asyncpg.SyntaxOrAccessError):
                # The query itself is at fault, or a grant lacks: a defect.
                raise
            log.warning("the ledger cannot be read", error=type(error).__name__)
            raise PaycoreError(
                Reason.DATABASE_UNAVAILABLE,
                "the ledger does not answer",
                retry_after_ms=RETRY_AFTER_MS,
            ) from error
        finally:
            self._under_way -= 1

    async def _await_position(self, terms: ReadTerms) -> None:
        """Return when a snapshot taken from now on has `min_position`: it never goes back."""
        if terms.min_position is None:
            return
        remaining_s = self._wait_s(terms)
        # The answer is read after it, within the same bound.
        patience_s = remaining_s - max(QUERY_MARGIN_S, remaining_s * QUERY_MARGIN_SHARE)
        if terms.patience_s is not None:
            patience_s = min(patience_s, terms.patience_s)
        until_s = self._clock.monotonic_s() + patience_s
        while True:
            async with self._connection() as connection:
                row = await self._freshness_row(connection, terms.min_position)
            if _has(row, terms.min_position):
                return
            if self._clock.monotonic_s() + LOOK_AGAIN_S >= until_s:
                raise _behind(row)
            await asyncio.sleep(LOOK_AGAIN_S)

    @asynccontextmanager
    async def _snapshot(self, terms: ReadTerms) -> AsyncIterator[Snapshot]:
        async with (
            self._connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await self._freshness_row(connection, terms.min_position or _NOTHING)
            if terms.min_position is not None and not _has(row, terms.min_position):
                # Another server answers at the same address, which is further behind.
                raise _behind(row)
            yield Snapshot(connection, _freshness(row, terms.min_position))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A connection of the pool, given up when its user leaves in the middle."""
        pool = await self._pool.get()
        async with pool.acquire() as connection:
            settled = False
            try:
                yield connection
                settled = True
            except Exception:
                settled = True
                raise
            finally:
                if not settled:
                    # Perhaps a transaction began or ended just then: whether it is open is not
                    # known. Nor would the pool be given it back before the server answers.
                    connection.terminate()

    async def _freshness_row(self, connection: Any, wanted: Position) -> Any:
        return await self._queries.read_freshness(
            connection, xid=wanted.xid, journal_id=wanted.journal_id
        )

    def _wait_s(self, terms: ReadTerms) -> float:
        remaining_s = terms.deadline_s - self._clock.monotonic_s()
        margin_s = max(ANSWER_MARGIN_S, remaining_s * ANSWER_MARGIN_SHARE)
        wait_s = min(MAX_WAIT_S, remaining_s - margin_s)
        if wait_s <= 0:
            raise PaycoreError(Reason.DEADLINE_EXCEEDED, "no time is left to ask the ledger")
        return wait_s


def _has(row: Any, wanted: Position) -> bool:
    """Whether the snapshot that `row` tells of has `wanted`, and all that it may have come with.

    On the primary whoever was shown a position was shown what is committed there. A replica commits
    in another order than transactions are numbered in: there, what is below must have ended too.
    """
    if wanted.epoch < row["epoch"]:
        raise invalid_field("min_position", "is of a history that has been replaced")
    if wanted.epoch > row["epoch"]:
        return False
    if wanted.xid == 0:
        return True
    return bool(row["found"] and (row["complete"] or not row["replica"]))


def _freshness(row: Any, reached: Position | None) -> Freshness:
    newest = None if row["xid"] is None else Position(row["epoch"], row["xid"], row["id"])
    positions = [one for one in (newest, reached) if one is not None]
    lag_us = max(0, row["replayed_us_ago"] or 0) if row["replica"] else 0
    return Freshness(SOURCE, max(positions, default=None), lag_us)


def _behind(row: Any) -> PaycoreError:
    metadata = {}
    if row["xid"] is not None:
        metadata["position"] = Position(row["epoch"], row["xid"], row["id"]).encode()
    return PaycoreError(
        Reason.INDEX_BEHIND, "the ledger's copy has not reached min_position yet", metadata
    )
