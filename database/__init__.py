"""All SQL of the system: roles, migrations and the named queries that Python calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiosql
from aiosql.adapters.asyncpg import AsyncPGAdapter
from aiosql.types import SQLOperationType

_QUERIES = Path(__file__).parent / "queries"

Query = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A statement of queries/*.sql as it is sent to the server."""

    name: str
    sql: str
    parameters: tuple[str, ...]
    """In the order of `$1`, `$2` and so on."""
    operation: SQLOperationType


def files() -> list[str]:
    """What `load` and `named_queries` take: the names of queries/*.sql."""
    return sorted(path.stem for path in _QUERIES.glob("*.sql"))


def named_queries(name: str) -> list[NamedQuery]:
    """The statements of queries/`name`.sql."""
    adapter = AsyncPGAdapter()  # type: ignore[no-untyped-call]  # aiosql is partly typed
    parsed = aiosql.from_path(_QUERIES / f"{name}.sql", lambda: adapter)
    found = []
    for query_name in parsed.available_queries:
        if not query_name.endswith("_cursor"):
            query = getattr(parsed, query_name)
            order = tuple(adapter.var_sorted[query_name])
            found.append(NamedQuery(query_name, query.sql, order, query.operation))
    return found


def load(name: str) -> Any:
    """The named queries of queries/`name`.sql: coroutines that take a connection first.

    Parameters go by keyword. The mark behind a query's name says what it returns: none a list of
    records, `^` one record or None, `$` one value or None, `!` and `#` nothing. `#` is a script of
    several statements without parameters.
    """
    found = SimpleNamespace()
    for query in named_queries(name):
        # aiosql's own functions look for a pool at each call, which costs more than the call.
        setattr(found, query.name, _query(query.sql, query.operation, query.parameters))
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
