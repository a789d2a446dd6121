"""Fill in what the callers of a local stack need: grants and step-up thresholds."""

from __future__ import annotations

from pathlib import Path

import aiosql
import psycopg

import database

_QUERIES = aiosql.from_path(
    Path(database.__file__).parent / "queries" / "local_seed.sql", "psycopg"
)


def seed_local(owner_dsn: str) -> None:
    """Write the grants and thresholds of the local callers; what exists is left as it is."""
    with psycopg.connect(owner_dsn) as connection:
        _QUERIES.seed_grants(connection)
        _QUERIES.seed_scheme_grants(connection)
        _QUERIES.seed_step_up_policies(connection)
