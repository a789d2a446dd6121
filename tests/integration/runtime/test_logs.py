"""What PostgreSQL quotes in an error does not reach the log."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.support.databases import OwnDatabase

CANARY = "canary-4711"

SCRIPT = """
import asyncio, os
import asyncpg
from paycore.runtime import logs, process

async def main(stop):
    connection = await asyncpg.connect(os.environ["DSN"])
    await connection.execute("CREATE TEMP TABLE people (name text PRIMARY KEY)")
    for _ in range(2):
        await connection.execute("INSERT INTO people VALUES ($1)", os.environ["CANARY"])

logs.configure("signing")
raise SystemExit(process.run(main))
"""


def test_the_values_in_an_error_of_the_database_are_not_logged(database: OwnDatabase) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "DSN": database.admin_dsn, "CANARY": CANARY},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert CANARY not in done.stdout + done.stderr
    (line,) = (json.loads(line) for line in done.stdout.splitlines())
    assert line["event"] == "process failed"
    (told,) = line["exception"]
    assert (told["class"], told["sqlstate"]) == (
        "asyncpg.exceptions.UniqueViolationError",
        "23505",
    )
    assert any(place.endswith(":main") for place in told["stack"])
