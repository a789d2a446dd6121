"""Certificate files that are replaced while a service runs are security events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from paycore.runtime import server as runtime_server
from paycore.runtime.clock import SystemClock
from paycore.runtime.event_sinks import ServicesSink
from paycore.runtime.security_events import SecurityEvents
from paycore.runtime.server import Server
from paycore.runtime.settings import ServiceSettings
from paycore.runtime.tls import TlsFiles
from tests.support.databases import OwnDatabase
from tests.support.forgery import HOUR, Authority, around_now

AUTHORITY = Authority.new()
WITHIN_S = 60.0


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return AUTHORITY.issue_caller("command").write(tmp_path / "tls", AUTHORITY.pem)


@pytest.fixture
async def events(
    database: OwnDatabase, files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SecurityEvents]:
    """Those of a server that runs with `files`."""
    monkeypatch.setattr(runtime_server, "EXPIRY_WATCHED_EVERY_S", 0.05)
    events = SecurityEvents(ServicesSink(database.dsn("command"), "events"), SystemClock(), 3_600.0)
    settings = ServiceSettings(
        environment="local",
        listen="127.0.0.1:0",
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_ca=files.ca,
    )
    server = Server(settings, events=events)
    await server.start()
    yield events
    await server.stop(0)
    await events.stop()


async def told(events: SecurityEvents, database: OwnDatabase) -> list[Any]:
    """The rows, once there are any."""
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        async with asyncio.timeout(WITHIN_S):
            while True:
                await events.write()
                rows: list[Any] = await connection.fetch("SELECT * FROM audit.events")
                if rows:
                    return rows
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def test_other_files_are_told_of(
    events: SecurityEvents, database: OwnDatabase, files: TlsFiles
) -> None:
    renewed = AUTHORITY.issue_caller("command", around_now(HOUR, 2 * HOUR))
    renewed.write(files.ca.parent, AUTHORITY.pem)
    (row,) = await told(events, database)
    assert (row["event"], row["client"]) == ("CERTIFICATE_RENEWED", "command")
    assert row["reason"].startswith("certificate ")
    assert f"until {renewed.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}" in row["reason"]
    assert ", authorities " in row["reason"]


async def test_files_that_are_wrong_are_told_of(
    events: SecurityEvents, database: OwnDatabase, files: TlsFiles
) -> None:
    AUTHORITY.issue_caller("query").write(files.ca.parent, AUTHORITY.pem)
    (row,) = await told(events, database)
    assert (row["event"], row["client"]) == ("CERTIFICATE_REFUSED", "command")
    assert "query" in row["reason"] or "certificate" in row["reason"]
