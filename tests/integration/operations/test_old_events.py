"""Old security events are dropped by the owner alone, who leaves one that says so."""

from __future__ import annotations

import asyncio

import asyncpg
import psycopg
import pytest

from operations.migrate import old_events
from operations.migrate.old_events import drop_events
from tests.support.clocks import ManualClock
from tests.support.databases import OwnDatabase

DAY_US = 86_400 * 1_000_000
NOW_S = 1_800_000_000.0
"""2027-01-15: no event is of before 1970."""


async def test_what_is_older_goes_and_the_rest_stays_append_only(
    database: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_events, "AT_ONCE", 2)
    clock = ManualClock(NOW_S)
    owner = await asyncpg.connect(database.dsn("owner"))
    oldest_us = clock.now_us() - 3 * 31 * DAY_US
    for table, days in (("audit", (-9, -1, -1, -1, -1, 0, 5)), ("signing", (-2, 1))):
        for at in days:
            await owner.execute(
                f"INSERT INTO {table}.events (first_us, last_us, event) VALUES ($1, $1, 'E')",
                oldest_us + at * DAY_US,
            )
    dsn = database.dsn("owner")
    assert await asyncio.to_thread(drop_events, dsn, 3, clock) == (5, 1)
    assert await asyncio.to_thread(drop_events, dsn, 3, clock) == (0, 0)
    left = await owner.fetch("SELECT first_us, event, reason FROM audit.events ORDER BY first_us")
    assert [row["event"] for row in left] == ["E", "E", "EVENTS_DROPPED"]
    assert left[-1]["reason"] == "older than 3 months: 5 of services, 1 of signing"
    assert await owner.fetchval("SELECT count(*) FROM signing.events") == 1
    for table in ("audit", "signing"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute(f"DELETE FROM {table}.events")
    await owner.close()


async def test_no_service_can(database: OwnDatabase) -> None:
    for role in ("command", "signing", "trail", "audit"):
        with pytest.raises(psycopg.Error):
            await asyncio.to_thread(drop_events, database.dsn(role), 3)
