"""`paycore audit`: changes and events as one ordered list, filtered and by pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from operations.cli.app import app
from operations.views.trail import UNSEARCHED
from paycore.runtime.event_sinks import ServicesSink, SigningSink
from paycore.runtime.security_events import Kind, Row
from paycore.runtime.traces import Hinted, hint
from tests.support.command_core import command_core
from tests.support.databases import OwnDatabase

AT_US = 1_800_000_000_000_000
"""2027-01-15 08:00:00 UTC."""
TRAIL_KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch, database: OwnDatabase, tmp_path: Path) -> None:
    key = tmp_path / "trail.key"
    key.write_text(TRAIL_KEY.hex())
    monkeypatch.setenv("PAYCORE_TRAIL_KEY_FILE", str(key))
    monkeypatch.setenv("PAYCORE_COMMAND_TARGET", "127.0.0.1:1")
    monkeypatch.setenv("PAYCORE_INSECURE", "true")
    monkeypatch.setenv("PAYCORE_AUDIT_DSN", database.dsn("audit"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
async def owner(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.dsn("owner"))
    yield connection
    await connection.close()


async def audit(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *arguments])


async def listed(*arguments: str) -> Any:
    result = await audit(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def event(at_us: int, event: str, **values: Any) -> Row:
    kind = Kind(
        event,
        values.get("client", "app"),
        "paycore.v1.TransferService/SubmitTransfer",
        "WHY",
        values.get("user"),
        values.get("device"),
    )
    return Row(kind, values.get("address"), "r", at_us, at_us, values.get("times", 1))


async def write(database: OwnDatabase, role: str, *rows: Row) -> None:
    sink = (SigningSink if role == "signing" else ServicesSink)(database.dsn(role), "events")
    await sink.write(rows)
    await sink.close()


async def refused(
    owner: asyncpg.Connection, at_us: int, user: str, key: bytes, address: str
) -> None:
    """Add a refusal of a phone's, with hints under `key`."""
    await owner.execute(
        "INSERT INTO audit.events"
        " (first_us, last_us, event, client, user_id, device_hint, address_hint)"
        " VALUES ($1, $1, 'STEP_UP_REFUSED', 'app', $2, $3, $4)",
        at_us,
        user,
        hint(key, Hinted.DEVICE, "phone"),
        hint(key, Hinted.ADDRESS, address),
    )


@pytest.fixture
async def trail(database: OwnDatabase, owner: asyncpg.Connection) -> None:
    """What the seed of the template wrote, and nine events behind it."""
    await write(
        database,
        "command",
        event(AT_US, "CALL_DENIED", client="stranger", address="10.0.0.1", times=70),
        event(AT_US + 4, "LIMIT_TRIPPED"),
    )
    await write(database, "trail", event(AT_US + 4, "CALL_DENIED", client=None))
    await write(
        database,
        "signing",
        event(AT_US + 1, "PIN_ENROLLED", user="ann"),
        event(AT_US + 3, "PIN_FAILED", user="ann"),
        event(AT_US + 4, "PIN_LOCKED", user="bob"),
    )
    # What a service keeps of where a person was when the data keys are away: hints.
    await refused(owner, AT_US + 2, "ann", TRAIL_KEY, "203.0.113.7")
    await owner.execute("INSERT INTO ledger.grants VALUES ('newcomer', 'ACT_FOR_USERS', 'OWN')")


async def test_the_newest_come_first_over_all_sources(trail: None) -> None:
    since = "2027-01-15"
    found = (await listed("--since", since))["entries"]
    assert [one["event"] for one in found] == [
        "PIN_LOCKED",
        "CALL_DENIED",
        "LIMIT_TRIPPED",
        "PIN_FAILED",
        "STEP_UP_REFUSED",
        "PIN_ENROLLED",
        "CALL_DENIED",
    ]
    assert found[-1]["count"] == 70
    assert found[-1]["time"] == "2027-01-15T08:00:00+00:00"


async def test_pages_together_are_the_whole(trail: None) -> None:
    whole = (await listed("--limit", "1000"))["entries"]
    assert len(whole) > 10
    paged: list[Any] = []
    token = ""
    while True:
        page = await listed("--limit", "3", "--page-token", token)
        paged += page["entries"]
        token = page["next_page_token"]
        if not token:
            break
    assert paged == whole


@pytest.mark.parametrize(
    ("arguments", "events"),
    [
        (["--user", "ann"], ["PIN_FAILED", "STEP_UP_REFUSED", "PIN_ENROLLED"]),
        (["--user", "ann", "--source", "signing"], ["PIN_FAILED", "PIN_ENROLLED"]),
        (["--device", "phone"], ["STEP_UP_REFUSED"]),
        (["--address", "10.0.0.1"], ["CALL_DENIED"]),
        (["--actor", "stranger"], ["CALL_DENIED"]),
        (["--event", "pin_locked", "--event", "limit_tripped"], ["PIN_LOCKED", "LIMIT_TRIPPED"]),
        (["--since", "2027-01-16"], []),
        (["--account", "7041"], []),
        (["--until", "2027-01-15", "--event", "ADD_GRANT", "--limit", "1"], ["ADD_GRANT"]),
    ],
)
async def test_filters_hold_together(trail: None, arguments: list[str], events: list[str]) -> None:
    assert [one["event"] for one in (await listed(*arguments))["entries"]] == events


@pytest.mark.parametrize(
    ("arguments", "in_the_open", "sealed"),
    [
        (["--device", "phone"], ["DEVICE_REFUSED"], ["sealed", "ann"]),
        (["--address", "10.0.0.1"], ["CALL_DENIED"], ["sealed"]),
    ],
)
async def test_without_the_trails_key_what_is_open_is_found_and_the_rest_owned_up_to(
    database: OwnDatabase,
    owner: asyncpg.Connection,
    trail: None,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    in_the_open: list[str],
    sealed: list[str],
) -> None:
    await write(database, "signing", event(AT_US + 4, "DEVICE_REFUSED", device="phone"))
    await refused(owner, AT_US + 5, "sealed", TRAIL_KEY, "10.0.0.1")
    # Its hints are those of the same phone and address where no key is taken for one of no bytes.
    await refused(owner, AT_US + 6, "other", b"", "10.0.0.1")
    found = await listed(*arguments)
    assert [one["user"] for one in found["entries"] if one["device_hint"]] == sealed
    assert [one["event"] for one in found["entries"] if not one["device_hint"]] == in_the_open
    assert found["sealed_searched"] is True
    assert UNSEARCHED not in (await audit(*arguments)).stdout

    monkeypatch.delenv("PAYCORE_TRAIL_KEY_FILE")
    without = await listed(*arguments)
    assert [one["event"] for one in without["entries"]] == in_the_open
    assert without["sealed_searched"] is False
    assert UNSEARCHED in (await audit(*arguments)).stdout
    nothing = await audit(arguments[0], "nowhere")
    assert "nothing of that kind happened" in nothing.stdout
    assert UNSEARCHED in nothing.stdout
    assert UNSEARCHED not in (await audit("--user", "ann")).stdout


async def test_an_accounts_changes_are_found_by_its_id(
    database: OwnDatabase, owner: asyncpg.Connection
) -> None:
    async with command_core(database.dsn("command")) as core:
        _, account, other = await core.open(2)
    for one in (account, other):
        await owner.execute(
            "UPDATE ledger.accounts SET status = 'FROZEN', revision = revision + 1 WHERE id = $1",
            one,
        )
    (found,) = (await listed("--account", str(account)))["entries"]
    assert (found["event"], found["subject"]) == ("SET_STATUS", f"account/{account}")
    assert found["before"]["status"] == "ACTIVE"
    text = await audit("--account", str(account))
    assert "status: ACTIVE → FROZEN" in text.stdout


async def test_what_callers_named_neither_colours_nor_controls_the_terminal(
    database: OwnDatabase,
) -> None:
    await write(database, "command", event(AT_US, "CALL_DENIED", user="[red]\x1b[2Jx[/red]"))
    result = await audit()
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert "[red]" in result.stdout


async def test_wrong_usage_ends_with_2(trail: None) -> None:
    for arguments in (["--source", "gossip"], ["--page-token", "x"], ["--page-token", "WzFd"]):
        result = await audit(*arguments)
        assert result.exit_code == 2, arguments


async def test_the_auditor_reads_the_trail_and_nothing_behind_it(database: OwnDatabase) -> None:
    connection = await asyncpg.connect(database.dsn("audit"))
    try:
        await connection.fetch("SELECT * FROM audit.trail")
        for table in ("signing.events", "signing.pins", "audit.events"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {table}")
    finally:
        await connection.close()
