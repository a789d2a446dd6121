"""Keys that come, come into use or are missing are found in the trail, with who brought them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from paycore.runtime.database import open_pool
from paycore.runtime.event_sinks import SigningSink
from paycore.runtime.pools import PoolName
from paycore.runtime.security_events import SecurityEvents
from signing_service import keys as command_line
from signing_service.acting import ACTING
from signing_service.events import write_refusals
from signing_service.key_watch import PROCESS, KeyWatch
from signing_service.keystore import encrypted_file
from signing_service.keystore.key_ring import KeyRing
from signing_service.keystore.port import KeyPurpose
from signing_service.transactions import Transactions
from tests.integration.signing.signer import Signer
from tests.support.clocks import ManualClock

PASSPHRASE = "a passphrase for tests"
HOUR_US = 3_600 * 1_000_000


@pytest.fixture
async def transactions(signing_dsn: str) -> AsyncIterator[Transactions]:
    ACTING.set(PROCESS)
    pool = await open_pool(
        signing_dsn, size=2, name=PoolName.SIGNING, application="key-events-test"
    )
    yield Transactions(pool)
    pool.terminate()


async def events(owner: asyncpg.Connection) -> list[Any]:
    found: list[Any] = await owner.fetch("SELECT * FROM signing.events ORDER BY id")
    return found


async def test_the_first_keys_are_told_of_once_by_however_many_processes(
    transactions: Transactions, owner: asyncpg.Connection
) -> None:
    ring = KeyRing.generate(now_us=1)
    await asyncio.gather(*(KeyWatch(transactions, ring).look() for _ in range(3)))
    told = await events(owner)
    assert {row["event"] for row in told} == {"KEY_ADDED"}
    assert sorted(row["reason"].split()[0] for row in told) == sorted(KeyPurpose)
    assert {(row["client"], row["method"], row["user_id"]) for row in told} == {
        ("signing", None, None)
    }
    assert all(row["reason"].endswith("seen by a process") for row in told)


async def test_a_rotation_is_told_of_when_it_comes_and_when_it_is_used(
    transactions: Transactions, owner: asyncpg.Connection
) -> None:
    clock = ManualClock()
    first = KeyRing(KeyRing.generate(clock.now_us()).keys, clock)
    await KeyWatch(transactions, first).look()
    rotated = first.rotated(KeyPurpose.SEALING, clock.now_us(), clock.now_us() + HOUR_US)
    watch = KeyWatch(transactions, rotated)
    await watch.look()
    added = (await events(owner))[-1]
    assert added["event"] == "KEY_ADDED"
    assert rotated.keys[-1].key_id in added["reason"]
    clock.at_s += 3_601
    await watch.look()
    await watch.look()
    # One that was not started again uses the old key, and says nothing.
    await KeyWatch(transactions, rotated).look()
    in_use = (await events(owner))[5:]
    assert [row["event"] for row in in_use] == ["KEY_ROTATED"]
    old = next(key.key_id for key in first.keys if key.purpose is KeyPurpose.SEALING)
    assert in_use[0]["reason"].startswith(
        f"SEALING {rotated.keys[-1].key_id} in use instead of {old}"
    )


async def test_a_key_that_is_gone_is_told_of(
    transactions: Transactions, owner: asyncpg.Connection, signing_dsn: str
) -> None:
    ring = KeyRing.generate(now_us=1)
    rotated = ring.rotated(KeyPurpose.PEPPER, 2, 2)
    await KeyWatch(transactions, rotated).look()
    written = SecurityEvents(SigningSink(signing_dsn, "events"), ManualClock(), 3_600.0)
    write_refusals(written)
    try:
        await KeyWatch(transactions, ring).look()
    finally:
        write_refusals(None)
        await written.stop()
    told = {row["event"]: row["reason"] for row in await events(owner)}
    assert told["KEY_MISSING"] == f"PEPPER {rotated.keys[-1].key_id}"
    # It uses an older one again: that too is a change-over.
    assert rotated.keys[-1].key_id in told["KEY_ROTATED"]


@pytest.fixture
def keystore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A keystore that the command line works on."""
    path, secret = tmp_path / "keys", tmp_path / "secret"
    secret.write_text(PASSPHRASE)
    encrypted_file.load_or_create(path, PASSPHRASE.encode(), now_us=1)
    monkeypatch.setenv("PAYCORE_SIGNING_KEYSTORE_FILE", str(path))
    monkeypatch.setenv("PAYCORE_SIGNING_KEYSTORE_PASSPHRASE_FILE", str(secret))
    monkeypatch.setattr(sys, "argv", ["keys", "rotate", "authorization", "--in", "0"])
    return path


async def test_the_command_line_says_who_rotated_and_processes_add_nothing(
    keystore: Path,
    transactions: Transactions,
    owner: asyncpg.Connection,
    signing_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await KeyWatch(transactions, encrypted_file.load(keystore, PASSPHRASE.encode())).look()
    monkeypatch.setenv("PAYCORE_SIGNING_POSTGRES_DSN", signing_dsn)
    monkeypatch.setenv("LOGNAME", "carol")
    assert await asyncio.to_thread(command_line.main) == 0
    (added,) = (await events(owner))[4:]
    assert (added["event"], added["client"].split("@")[0]) == ("KEY_ADDED", "carol")
    assert added["reason"].startswith("AUTHORIZATION authorization-")
    assert added["reason"].endswith("by command line")
    await KeyWatch(transactions, encrypted_file.load(keystore, PASSPHRASE.encode())).look()
    (rotated,) = (await events(owner))[5:]
    assert (rotated["event"], rotated["client"]) == ("KEY_ROTATED", "signing")


@pytest.mark.parametrize("dsn", [None, "postgresql://nobody@127.0.0.1:1/none"])
def test_without_the_database_it_rotates_and_says_what_is_missing(
    keystore: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    dsn: str | None,
) -> None:
    if dsn is not None:
        monkeypatch.setenv("PAYCORE_SIGNING_POSTGRES_DSN", dsn)
    assert command_line.main() == 0
    assert "the trail does not say who did this" in capsys.readouterr().err
    assert len(encrypted_file.load(keystore, PASSPHRASE.encode()).keys) == 5


@pytest.mark.parametrize(
    "statement",
    ["UPDATE signing.known_keys SET purpose = purpose", "DELETE FROM signing.known_keys"],
)
async def test_what_was_known_is_not_forgotten(owner: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute(statement)


async def test_a_pin_that_is_removed_by_hand_is_told_of(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("ada")
    await owner.execute("DELETE FROM signing.pins WHERE user_id = 'ada'")
    removed = (await events(owner))[-1]
    assert (removed["event"], removed["user_id"]) == ("PIN_REMOVED", "ada")
    assert (removed["client"], removed["database_user"]) == ("paycore_owner", "paycore_owner")
