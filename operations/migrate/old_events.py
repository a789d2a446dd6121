"""Security events that have been kept for long enough, dropped."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import NamedTuple

import aiosql
import psycopg

import database
from paycore.runtime.clock import Clock, SystemClock

KEEP_MONTHS = 13
"""How long a payer may dispute a payment that they did not authorize (PSD2, article 71)."""

AT_ONCE = 5_000
"""Rows in one transaction: whoever adds events waits for it."""

_MONTH_US = 31 * 86_400 * 1_000_000

_QUERIES = aiosql.from_path(Path(database.__file__).parent / "queries" / "events.sql", "psycopg")


class Dropped(NamedTuple):
    """Rows that are gone, by their table."""

    services: int
    signing: int


def drop_events(
    owner_dsn: str, keep_months: int = KEEP_MONTHS, clock: Clock | None = None
) -> Dropped:
    """Drop what happened more than `keep_months` months of 31 days ago, and leave a row that says
    so.

    Safe to repeat, and to be stopped anywhere. Raises psycopg.Error.
    """
    clock = clock or SystemClock()
    before_us = clock.now_us() - keep_months * _MONTH_US
    dropped = Dropped(
        _drop(owner_dsn, "services", before_us), _drop(owner_dsn, "signing", before_us)
    )
    if any(dropped):
        with psycopg.connect(owner_dsn) as connection:
            _QUERIES.tell_of_drop(
                connection,
                now_us=clock.now_us(),
                client=getpass.getuser(),
                reason=f"older than {keep_months} months: {dropped.services} of services,"
                f" {dropped.signing} of signing",
            )
    return dropped


def _drop(owner_dsn: str, table: str, before_us: int) -> int:
    total, some = 0, AT_ONCE
    while some == AT_ONCE:
        with psycopg.connect(owner_dsn) as connection:
            getattr(_QUERIES, f"open_{table}_events")(connection)
            some = getattr(_QUERIES, f"drop_{table}_events")(
                connection, before_us=before_us, most=AT_ONCE
            )
            getattr(_QUERIES, f"close_{table}_events")(connection)
        total += some
    return total
