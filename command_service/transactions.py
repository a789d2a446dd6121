"""One transaction on the ledger, and the truth about a commit whose reply was cut off."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
import structlog

import database
from command_service.posting.store import (
    ConflictError,
    LockTimeoutError,
    OutcomeUnknownError,
    RejectedError,
    UnreachableError,
)
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from paycore.runtime.database import DISCONNECTED, is_away

RESOLVE_WITHIN_S = 10.0
"""How long the outcome of a cut commit is looked for, in seconds."""

READ_WITHIN_S = 5.0
"""How long a read waits for a connection, in seconds."""

_KEYS_TABLE = "idempotency_keys"
_POLL_S = 0.02
_DECIDE_ANEW = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
)

T = TypeVar("T")
Work = Callable[[asyncpg.Connection], Awaitable[tuple[T, int | None]]]
"""Reads and writes within a transaction; gives its result and the xid of its journal row, or None
when it wrote nothing."""

log = structlog.get_logger()


class Transactions:
    """Runs units of work that end in one journal row each."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._queries: Any = database.load("transactions")
        self._epoch = 0

    async def start(self) -> None:
        """Read the cluster's epoch. Raises UnreachableError."""
        try:
            async with self._pool.acquire() as connection:
                self._epoch = await self._queries.epoch(connection)
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            if is_away(error):
                raise UnreachableError(type(error).__name__) from error
            raise

    @property
    def epoch(self) -> int:
        """The history that new positions belong to."""
        return self._epoch

    async def run(self, journal_id: int, work: Work[T]) -> tuple[T, Position | None]:
        """Commit `work`, whose journal row is `journal_id`; its result and, if it wrote, its place.

        Raises ConflictError, UnreachableError or RejectedError when nothing was written,
        OutcomeUnknownError when that could not be learnt.
        """
        try:
            connection = await self._pool.acquire()
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            # A new connection is refused by a server that is out of disk or of memory, too.
            if is_away(error):
                raise UnreachableError(type(error).__name__) from error
            raise
        xid: int | None = None
        try:
            # Takes its transaction id before any lock, so that it is never running unseen.
            await self._queries.begin(connection)
            result, xid = await work(connection)
            if xid is None:
                # There is nothing to make durable.
                await self._queries.roll_back(connection)
            else:
                await self._queries.commit(connection)
        except DISCONNECTED as error:
            _close(connection)
            if xid is None:
                raise UnreachableError(type(error).__name__) from error
            log.warning("commit cut off", xid=xid, error=type(error).__name__)
            await self._resolve(xid, journal_id)
        except asyncpg.PostgresError as error:
            await self._abandon(connection)
            raise _translated(error) from error
        except BaseException:
            await self._abandon(connection)
            raise
        finally:
            await self._pool.release(connection)
        return result, None if xid is None else Position(self._epoch, xid, journal_id)

    async def _abandon(self, connection: asyncpg.Connection) -> None:
        """Leave a transaction that failed; a connection that cannot is closed."""
        try:
            await self._queries.roll_back(connection)
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            log.warning("rollback failed", error=type(error).__name__)
            _close(connection)

    async def _resolve(self, xid: int, journal_id: int) -> None:
        """Learn whether transaction `xid` committed; returns only if it did.

        A crash may hand the id to a later transaction, so its status says only that it has ended;
        whether it was ours tells the journal row, whose id is never used twice. Raises
        ConflictError when it did not commit, OutcomeUnknownError when that cannot be learnt.
        """
        give_up_s = self._clock.monotonic_s() + RESOLVE_WITHIN_S
        while self._clock.monotonic_s() < give_up_s:
            try:
                async with self._pool.acquire() as connection:
                    if await self._has_ended(connection, xid):
                        if await self._queries.journal_has(
                            connection, xid=xid, journal_id=journal_id
                        ):
                            return
                        raise ConflictError("the commit did not happen")
            except (*DISCONNECTED, asyncpg.PostgresError) as error:
                # Whatever keeps the answer back says nothing about the commit.
                log.warning("outcome still unknown", xid=xid, error=type(error).__name__)
            await asyncio.sleep(_POLL_S + random.random() * 0.1)  # noqa: S311  # jitter
        raise OutcomeUnknownError(str(xid))

    async def _has_ended(self, connection: asyncpg.Connection, xid: int) -> bool:
        try:
            status = await self._queries.transaction_status(connection, xid=xid)
        except asyncpg.InvalidParameterValueError:
            # The crash lost the id itself: it was never assigned as far as the server knows.
            return True
        return bool(status != "in progress")


@contextlib.asynccontextmanager
async def reading(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """A connection for a read that may be asked for again.

    Raises UnreachableError when there is none within READ_WITHIN_S, and for whatever keeps the
    database from answering inside.
    """
    try:
        async with pool.acquire(timeout=READ_WITHIN_S) as connection:
            yield connection
    except DISCONNECTED as error:
        raise UnreachableError(type(error).__name__) from error
    except asyncpg.PostgresError as error:
        if isinstance(_translated(error), UnreachableError | ConflictError):
            raise UnreachableError(type(error).__name__) from error
        raise


def _close(connection: asyncpg.Connection) -> None:
    """End a connection that is of no use any more, without asking the server."""
    # The pool takes one back by itself when it sees it lost, and that one refuses every call.
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


def _translated(error: Any) -> Exception:
    """What a failure of the server means for the work, by SQLSTATE."""
    if isinstance(error, asyncpg.UniqueViolationError):
        if error.table_name == _KEYS_TABLE:
            return ConflictError("another process stored one of the keys")
        return RejectedError(f"{error.sqlstate} {error.constraint_name}")
    if isinstance(error, asyncpg.LockNotAvailableError):
        return LockTimeoutError(error.sqlstate)
    if isinstance(error, _DECIDE_ANEW):
        return ConflictError(error.sqlstate or type(error).__name__)
    if is_away(error):
        return UnreachableError(error.sqlstate or type(error).__name__)
    if isinstance(error, asyncpg.IntegrityConstraintViolationError | asyncpg.DataError):
        return RejectedError(f"{error.sqlstate} {getattr(error, 'constraint_name', None)}")
    failure: Exception = error
    return failure
