"""Which failures say that the server cannot serve now."""

from __future__ import annotations

import asyncpg
import pytest

from paycore.runtime.database import is_away

AWAY = (
    ConnectionRefusedError(),
    TimeoutError(),
    asyncpg.InterfaceError("closed"),
    asyncpg.CannotConnectNowError("starting up"),
    asyncpg.TooManyConnectionsError("too many"),
    asyncpg.DiskFullError("no space left on device"),
    asyncpg.OutOfMemoryError("out of memory"),
    asyncpg.PostgresIOError("could not read"),
    asyncpg.AdminShutdownError("shut down"),
    asyncpg.ReadOnlySQLTransactionError("no primary"),
    asyncpg.UndefinedTableError("of another schema"),
)

NOT_AWAY = (
    asyncpg.QueryCanceledError("took too long"),
    asyncpg.LockNotAvailableError("locked"),
    asyncpg.SerializationError("anew"),
    asyncpg.UniqueViolationError("twice"),
    asyncpg.CheckViolationError("below the floor"),
    asyncpg.InternalServerError("a defect"),
    asyncpg.DataCorruptedError("a page"),
    asyncpg.PostgresSyntaxError("a query"),
    ValueError("a defect"),
)


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_the_server_cannot_serve_now(error: Exception) -> None:
    assert is_away(error)


@pytest.mark.parametrize("error", NOT_AWAY, ids=lambda error: type(error).__name__)
def test_the_work_was_at_fault(error: Exception) -> None:
    assert not is_away(error)
