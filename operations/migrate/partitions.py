"""Partitions of the transfers, made ahead of the time in which they are needed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import aiosql
import psycopg

import database

MONTHS_AHEAD = 12
"""Months that are covered beside the present one. Whoever forgets the job for a year finds that
payments are refused."""

_QUERIES = aiosql.from_path(
    Path(database.__file__).parent / "queries" / "partitions.sql", "psycopg"
)


def add_partitions(owner_dsn: str, months_ahead: int = MONTHS_AHEAD) -> list[date]:
    """Cover the present month and `months_ahead` more; the first days of the months added.

    Safe to repeat, from several places at once, and beside writers: a partition is made and filled
    with nothing before it is attached, which takes no lock that a posting waits for. Raises
    psycopg.Error.
    """
    today = datetime.now(UTC).date()
    # From the first that nothing covers: after a long stop that may be behind.
    first, last = _number(covered_until(owner_dsn).date()), _number(today) + months_ahead
    added = []
    for month in map(_first_day, range(first, last + 1)):
        # A transaction for each: what was added stays, whatever becomes of the next.
        with psycopg.connect(owner_dsn) as connection:
            if _QUERIES.add_transfer_partition(connection, month=month):
                added.append(month)
    return added


def covered_until(dsn: str) -> datetime:
    """The first moment, in UTC, whose transfers no partition would take. Raises psycopg.Error."""
    with psycopg.connect(dsn) as connection:
        until: datetime = _QUERIES.covered_until(connection)
    return until.astimezone(UTC)


def _number(day: date) -> int:
    return day.year * 12 + day.month - 1


def _first_day(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)
