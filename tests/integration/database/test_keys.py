"""Idempotency keys are unique and found by their locator, and came to be so beside the writers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import psycopg
import pytest

import database as named
from deploy.local import Endpoints
from operations.migrate.bootstrap import create_database, migrate
from paycore.client.keys import new_key
from tests.integration.database.conftest import Connect
from tests.support.databases import OwnDatabase

BEFORE = "0012"
BUILT = "0014"
"""The index by locator is there beside the wide one."""

STORE = (
    "INSERT INTO ledger.idempotency_keys"
    " (client, key, outcome, outcome_id, request_hash, journal_id)"
    " VALUES ($1, $2, 'TRANSFER', 1, '\\x00', 1)"
)
LOCATOR = "SELECT ledger.key_locator($1, $2)"


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("app", "k"),
        ("app", "x" * 128),
        ("app", "back\\slash \\101 \\\\ 'quote'"),
        (
            "b\u00fcro",
            "\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac",
        ),
        ("app", "----------"),
        ("app", "0192f0c1-2345-7abc-8def-0123456789ab"),
    ],
)
async def test_any_client_and_key_have_one_narrow_locator(
    connect: Connect, client: str, key: str
) -> None:
    command = await connect("command")
    first, again = [await command.fetchval(LOCATOR, client, key) for _ in range(2)]
    assert first == again
    assert first.startswith(key.replace("-", "")[:11].encode())
    assert len(first) == len(key.replace("-", "")[:11].encode()) + 12


async def test_other_clients_and_other_keys_have_other_locators(connect: Connect) -> None:
    command = await connect("command")
    pairs = [("app", "ab-c"), ("app", "abc"), ("app", "abc-"), ("app2", "abc"), ("ap", "pabc"),
             ("app", "a" * 127), ("app", "a" * 128), ("app", "\\\\"), ("app", "\\")]  # fmt: skip
    found = {await command.fetchval(LOCATOR, *pair) for pair in pairs}
    assert len(found) == len(pairs)


async def test_locators_of_keys_that_begin_with_the_time_are_in_its_order(connect: Connect) -> None:
    command = await connect("command")
    # The first 11 digits tell 16 milliseconds apart.
    keys = [new_key(1_763_760_000_000_000 + step * 16_000) for step in range(200)]
    locators = [await command.fetchval(LOCATOR, "app", key) for key in keys]
    assert locators == sorted(locators)


@pytest.mark.parametrize("queries", ["posting", "accounts"])
async def test_keys_are_looked_up_by_the_index_of_locators(connect: Connect, queries: str) -> None:
    admin = await connect("admin")
    await admin.execute(
        "INSERT INTO ledger.idempotency_keys"
        " (client, key, outcome, outcome_id, request_hash, journal_id)"
        " SELECT 'app', gen_random_uuid()::text, 'TRANSFER', 1, '\\x00', 1"
        " FROM generate_series(1, 20000)"
    )
    await admin.execute("ANALYZE ledger.idempotency_keys")
    command = await connect("command")
    stored = await command.fetch("SELECT client, key FROM ledger.idempotency_keys LIMIT 500")
    wanted = [row["client"] for row in stored], [row["key"] for row in stored]
    found = await named.load(queries).find_keys(command, clients=wanted[0], keys=wanted[1])
    assert {row["key"] for row in found} == set(wanted[1])
    used = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'idempotency_keys_once'"
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'idempotency_keys'"
    await command.execute("SELECT pg_stat_force_next_flush()")
    before = await admin.fetchval(used), await admin.fetchval(scans)
    await named.load(queries).find_keys(command, clients=wanted[0], keys=wanted[1])
    await command.execute("SELECT pg_stat_force_next_flush()")
    assert (await admin.fetchval(used), await admin.fetchval(scans)) == (before[0] + 500, before[1])


async def test_the_service_can_store_a_key_once(connect: Connect) -> None:
    first, second = await connect("command"), await connect("command")
    key = new_key(1_763_760_000_000_000)
    async with first.transaction():
        await first.execute(STORE, "app", key)
        waiting = asyncio.create_task(second.execute(STORE, "app", key))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await waiting
    # What tells the posting that another process stored the key.
    assert refused.value.table_name == "idempotency_keys"
    await second.execute(STORE, "app2", key)


@pytest.fixture
async def older(endpoints: Endpoints) -> AsyncIterator[OwnDatabase]:
    """A ledger as it was before keys had locators, with some of them."""
    own = OwnDatabase(f"t{secrets.token_hex(6)}", endpoints)
    create_database(endpoints.postgres_admin_dsn, own.name)
    try:
        await asyncio.to_thread(migrate, endpoints.postgres_admin_dsn, own.name, BEFORE)
        connection = await asyncpg.connect(own.dsn("command"))
        await connection.executemany(STORE, [("app", f"old-{number}") for number in range(2_000)])
        await connection.close()
        yield own
    finally:
        with psycopg.connect(endpoints.postgres_admin_dsn, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{own.name}" WITH (FORCE)')


async def test_keys_stored_while_the_index_is_built_are_unique_throughout(
    older: OwnDatabase, endpoints: Endpoints
) -> None:
    stored = [f"old-{number}" for number in range(2_000)]
    wrong: list[str] = []
    slowest_s = 0.0
    done = asyncio.Event()

    async def keep_storing() -> None:
        nonlocal slowest_s
        connection = await asyncpg.connect(older.dsn("command"))
        now = asyncio.get_running_loop().time
        while not done.is_set():
            key, began_s = f"new-{len(stored)}", now()
            await connection.execute(STORE, "app", key)
            slowest_s = max(slowest_s, now() - began_s)
            stored.append(key)
            for again in (key, stored[len(stored) * 7 % 2_000]):
                try:
                    await connection.execute(STORE, "app", again)
                except asyncpg.UniqueViolationError:
                    continue
                wrong.append(again)
        await connection.close()

    writer = asyncio.create_task(keep_storing())
    await asyncio.sleep(0.1)
    before = len(stored)
    await asyncio.to_thread(migrate, endpoints.postgres_admin_dsn, older.name, BUILT)
    await asyncio.to_thread(migrate, endpoints.postgres_admin_dsn, older.name)
    after = len(stored)
    await asyncio.sleep(0.1)
    done.set()
    await writer
    assert wrong == []
    assert 2_000 < before < after < len(stored)
    assert slowest_s < 5.0
    owner = await asyncpg.connect(older.dsn("owner"))
    try:
        assert await owner.fetch(
            "SELECT indexrelid::regclass::text AS name, indisvalid, indisunique FROM pg_index"
            " WHERE indrelid = 'ledger.idempotency_keys'::regclass AND indisunique"
        ) == [("ledger.idempotency_keys_once", True, True)]
        kept = await owner.fetch("SELECT key FROM ledger.idempotency_keys")
        assert sorted(row["key"] for row in kept) == sorted(stored)
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute("DELETE FROM ledger.idempotency_keys")
    finally:
        await owner.close()


async def test_a_build_that_was_broken_off_is_done_again(
    older: OwnDatabase, endpoints: Endpoints
) -> None:
    admin = await asyncpg.connect(older.admin_dsn)
    try:
        # What CREATE INDEX CONCURRENTLY leaves behind when it fails: an index that does not count.
        await admin.execute(
            "ALTER TABLE ledger.idempotency_keys DROP CONSTRAINT idempotency_keys_pkey"
        )
        await admin.execute(STORE, "app", "old-1")
        with pytest.raises(asyncpg.UniqueViolationError):
            await admin.execute(
                "CREATE UNIQUE INDEX CONCURRENTLY idempotency_keys_once"
                " ON ledger.idempotency_keys (client, key)"
            )
        await admin.execute("SET session_replication_role = replica")
        await admin.execute("ALTER TABLE ledger.idempotency_keys DISABLE TRIGGER append_only")
        await admin.execute(
            "DELETE FROM ledger.idempotency_keys WHERE key = 'old-1' AND ctid = ("
            " SELECT max(ctid) FROM ledger.idempotency_keys WHERE key = 'old-1')"
        )
        await admin.execute("ALTER TABLE ledger.idempotency_keys ENABLE ALWAYS TRIGGER append_only")
        await asyncio.to_thread(migrate, endpoints.postgres_admin_dsn, older.name, BUILT)
        assert await admin.fetchval(
            "SELECT indisvalid FROM pg_index"
            " WHERE indexrelid = 'ledger.idempotency_keys_once'::regclass"
        )
    finally:
        await admin.close()
