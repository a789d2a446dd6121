"""All SQL of the system: roles, migrations and the named queries that Python calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiosql

_QUERIES = Path(__file__).parent / "queries"


def load(name: str) -> Any:
    """The named queries of queries/`name`.sql: coroutines that take a connection first."""
    return aiosql.from_path(_QUERIES / f"{name}.sql", "asyncpg")
