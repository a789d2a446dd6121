"""All SQL of the system: roles, migrations and the named queries that Python calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiosql
from aiosql.adapters.asyncpg import AsyncPGAdapter
from aiosql.types import SQLOperationType

_QUERIES = Path(__file__).parent / "queries"

Query = Callable[..., Awaitable[Any]]


def load(name: str) -> Any:
    """The named queries of queries/`name`.sql: coroutines that take a connection first.

    Parameters go by keyword. The mark behind a query's name says what it returns: none a list of
    records, `^` one record or None, `$` one value or None, `!` and `#` nothing. `#` is a script of
    several statements without parameters.
    """
    adapter = AsyncPGAdapter()  # type: ignore[no-untyped-call]  # aiosql is partly typed
    parsed = aiosql.from_path(_QUERIES / f"{name}.sql", lambda: adapter)
    found = SimpleNamespace()
    for query_name in parsed.available_queries:
        if not query_name.endswith("_cursor"):
            query = getattr(parsed, query_name)
            # aiosql's own functions look for a pool at each call, which costs more than the call.
            order = tuple(adapter.var_sorted[query_name])
            setattr(found, query_name, _query(query.sql, query.operation, order))
    return found


def _query(sql: str, operation: SQLOperationType, order: tuple[str, ...]) -> Query:
    async def fetch(connection: Any, **values: Any) -> Any:
        return await connection.fetch(sql, *[values[name] for name in order])

    async def fetch_row(connection: Any, **values: Any) -> Any:
        return await connection.fetchrow(sql, *[values[name] for name in order])

    async def fetch_value(connection: Any, **values: Any) -> Any:
        return await connection.fetchval(sql, *[values[name] for name in order])

    async def execute(connection: Any, **values: Any) -> None:
        await connection.execute(sql, *[values[name] for name in order])

    match operation:
        case SQLOperationType.SELECT:
            return fetch
        case SQLOperationType.SELECT_ONE:
            return fetch_row
        case SQLOperationType.SELECT_VALUE:
            return fetch_value
        case SQLOperationType.INSERT_UPDATE_DELETE | SQLOperationType.SCRIPT:
            return execute
        case _:
            raise ValueError(f"query operation {operation} is not in use")
