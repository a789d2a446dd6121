"""What each service's role may not do, asserted as a table, and that what it needs it may."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from paycore.domain.accounts import AccountId
from tests.integration.database.conftest import Connect

SERVICES = ("command", "signing", "projector", "query", "audit", "trail")
APPEND_ONLY = (
    "ledger.transfers",
    "ledger.declines",
    "ledger.idempotency_keys",
    "ledger.journal",
    "ledger.authorizations",
    "ledger.transfer_details",
    "ledger.account_details",
    "ledger.external_identifiers",
    "ledger.erased_keys",
    "ledger.audit",
)
LEDGER = (
    *APPEND_ONLY,
    "ledger.accounts",
    "ledger.grants",
    "ledger.scheme_grants",
    "ledger.step_up_policies",
    "ledger.limits",
    "ledger.risk_rules",
)
SIGNING = (
    "signing.pins",
    "signing.attempts",
    "signing.attempt_counters",
    "signing.authorizations",
    "signing.devices",
    "signing.spent_enrolments",
    "signing.spent_challenges",
    "signing.data_keys",
    "signing.destroyed_data_keys",
    "signing.known_keys",
    "signing.keys_in_use",
)
SEALS = ("ledger.seals",)
"""Only added to, by the projector."""
PROJECTION = ("projection.checkpoints", "projection.dead_letters", "projection.rewrites")
WEBHOOKS = (
    "webhooks.subscriptions",
    "webhooks.secrets",
    "webhooks.deliveries",
    "webhooks.attempts",
)
EVENTS = ("audit.events", "signing.events")
"""Rows are only added, by those who may, and read by nobody but through audit.trail."""

COLUMN = {
    "ledger.transfers": "amount",
    "ledger.declines": "reason",
    "ledger.idempotency_keys": "key",
    "ledger.journal": "id",
    "ledger.authorizations": "user_id",
    "ledger.transfer_details": "description",
    "ledger.account_details": "metadata",
    "ledger.external_identifiers": "account",
    "ledger.erased_keys": "erased_at_us",
    "ledger.audit": "reason",
    "ledger.accounts": "owner",
    "ledger.grants": "scope",
    "ledger.scheme_grants": "scheme",
    "ledger.step_up_policies": "currency",
    "ledger.limits": "client",
    "ledger.risk_rules": "currency",
    "signing.pins": "encoded_hash",
    "signing.attempts": "verdict",
    "signing.attempt_counters": "failures",
    "signing.authorizations": "user_id",
    "signing.devices": "public_key",
    "signing.spent_enrolments": "user_id",
    "signing.spent_challenges": "expires_at_us",
    "signing.data_keys": "wrapped",
    "signing.destroyed_data_keys": "subject",
    "signing.known_keys": "purpose",
    "signing.keys_in_use": "purpose",
    "projection.rewrites": "round",
    "ledger.seals": "hash",
    "audit.events": "reason",
    "signing.events": "reason",
    "projection.checkpoints": "xid",
    "webhooks.subscriptions": "url",
    "webhooks.secrets": "sealed",
    "webhooks.deliveries": "body",
    "webhooks.attempts": "status",
    "projection.dead_letters": "reason",
}
"""A column of each table that nobody else may set."""


def change(table: str) -> tuple[str, ...]:
    """Every way to take back or to falsify what is written."""
    column = COLUMN[table]
    return (
        f"UPDATE {table} SET {column} = {column}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE {table} ADD COLUMN extra int",
    )


def insert(table: str) -> str:
    return f"INSERT INTO {table} SELECT * FROM {table}"


def insert_whole(table: str) -> str:
    return f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {table}"


POLICY_CHANGES = {
    ("command", f"DELETE FROM {table}")
    for table in (
        "ledger.grants",
        "ledger.scheme_grants",
        "ledger.step_up_policies",
        "ledger.limits",
        "ledger.risk_rules",
    )
}
"""What PolicyService does beside adding rows, and setting what is not the name of one."""


WEBHOOK_REMOVALS = {
    # Of secrets that have ended, and of deliveries that are old.
    ("command", "DELETE FROM webhooks.secrets"),
    ("projector", "DELETE FROM webhooks.deliveries"),
}


def read(table: str) -> str:
    return f"SELECT FROM {table}"


FORBIDDEN: list[tuple[str, str]] = [
    # Nobody takes back what was written.
    *(
        (role, sql)
        for role in SERVICES
        for table in LEDGER
        for sql in change(table)
        if (role, sql) not in POLICY_CHANGES
    ),
    # Only the command service writes the ledger, and policy for operators; the tables audit that.
    *(
        (role, insert(table))
        for role in ("signing", "projector", "query", "audit", "trail")
        for table in LEDGER
    ),
    ("command", insert("ledger.audit")),
    ("command", insert("ledger.erased_keys")),
    ("command", "SELECT ledger.write_audit('a', 's', NULL, NULL)"),
    ("command", "UPDATE ledger.accounts SET opened_by = 'me'"),
    ("command", "UPDATE ledger.accounts SET institution = 'mine'"),
    ("command", "UPDATE ledger.accounts SET currency = 'USD'"),
    ("command", "UPDATE ledger.accounts SET kind = 'EXTERNAL'"),
    ("command", "UPDATE ledger.epoch SET epoch = 2"),
    # What the signing service knows is its own.
    *(
        (role, sql)
        for role in ("command", "projector", "query", "audit", "trail")
        for table in SIGNING
        for sql in (read(table), insert(table), *change(table))
    ),
    *(("signing", read(table)) for table in LEDGER),
    *(("signing", sql) for sql in change("signing.authorizations")),
    *(("signing", sql) for sql in change("signing.destroyed_data_keys")),
    ("signing", "UPDATE signing.data_keys SET wrapped = wrapped"),
    *(
        (role, call)
        for role in ("signing", "projector", "query", "audit", "trail")
        for call in (
            "SELECT ledger.erase_keys('u', ARRAY[1], 1)",
            "SELECT ledger.erase_account_details('u', 1)",
        )
    ),
    ("signing", "DELETE FROM signing.pins"),
    ("signing", "UPDATE signing.pins SET user_id = user_id"),
    *(("signing", sql) for sql in change("signing.spent_enrolments")),
    *(("signing", sql) for sql in change("signing.devices")),
    ("signing", "UPDATE signing.devices SET user_id = user_id"),
    ("signing", "UPDATE signing.devices SET enrolled_at_us = enrolled_at_us"),
    # Nobody reads, changes or removes security events; who adds one says neither who nor when.
    *(
        (role, sql)
        for role in SERVICES
        for table in EVENTS
        for sql in (read(table), insert_whole(table), *change(table))
    ),
    *(
        (
            role,
            f"INSERT INTO audit.events (event, first_us, last_us, {more}) VALUES ('E', 1, 1, 1)",
        )
        for role in ("command", "projector", "trail")
        for more in ("database_user", "recorded_us", "device_id")
    ),
    *(
        (role, "INSERT INTO audit.events (event, first_us, last_us) VALUES ('E', 1, 1)")
        for role in ("audit", "query", "signing")
    ),
    ("signing", "INSERT INTO signing.known_keys (known_since_us) VALUES (1)"),
    ("signing", "UPDATE signing.known_keys SET purpose = purpose"),
    ("signing", "DELETE FROM signing.known_keys"),
    ("signing", "UPDATE signing.keys_in_use SET purpose = purpose"),
    ("signing", "DELETE FROM signing.keys_in_use"),
    # Who only adds events does nothing else.
    *(
        ("trail", sql)
        for table in (*LEDGER, *SIGNING, *PROJECTION)
        for sql in (read(table), insert(table), *change(table))
    ),
    *(
        (role, "INSERT INTO signing.events (event, first_us, last_us) VALUES ('E', 1, 1)")
        for role in ("command", "projector", "query", "audit", "trail")
    ),
    ("signing", "SELECT signing.write_event('E', 'u', NULL, NULL)"),
    *(
        (role, "SELECT FROM audit.trail")
        for role in ("command", "signing", "projector", "query", "trail")
    ),
    # The projector adds seals, and takes none back.
    *((role, sql) for role in SERVICES for table in SEALS for sql in change(table)),
    *(
        (role, "INSERT INTO ledger.seals (number) VALUES (1)")
        for role in ("command", "signing", "query", "audit", "trail")
    ),
    *((role, read("ledger.seals")) for role in ("command", "signing", "query", "trail")),
    # The projector's state is its own.
    *(
        (role, sql)
        for role in ("command", "signing", "query", "audit", "trail")
        for table in PROJECTION
        for sql in (insert(table), *change(table))
    ),
    *((role, read("ledger.idempotency_keys")) for role in ("projector", "query")),
    *((role, read("ledger.authorizations")) for role in ("projector", "query")),
    *((role, read("ledger.audit")) for role in ("projector", "query")),
    *((role, read("ledger.account_details")) for role in ("projector", "query")),
    *((role, read("ledger.limits")) for role in ("projector", "query")),
    *((role, read("ledger.risk_rules")) for role in ("projector", "query")),
    # Wishes are the command service's to write, and what became of them the projector's.
    *(
        (role, sql)
        for role in SERVICES
        for table in WEBHOOKS
        for sql in change(table)
        if (role, sql) not in WEBHOOK_REMOVALS
    ),
    *(
        (role, sql)
        for role in ("signing", "query", "trail")
        for table in WEBHOOKS
        for sql in (read(table), insert_whole(table))
    ),
    *((role, read("webhooks.secrets")) for role in ("audit",)),
    *(("projector", insert(table)) for table in ("webhooks.subscriptions", "webhooks.secrets")),
    *(("command", insert_whole(table)) for table in ("webhooks.deliveries", "webhooks.attempts")),
    *(("audit", insert_whole(table)) for table in WEBHOOKS),
    ("command", "UPDATE webhooks.subscriptions SET client = 'me'"),
    ("command", "UPDATE webhooks.deliveries SET attempts = 0"),
    ("projector", "UPDATE webhooks.subscriptions SET from_journal_id = 0"),
    ("projector", "UPDATE webhooks.subscriptions SET client = 'me'"),
    ("projector", "UPDATE webhooks.secrets SET signs_until_us = NULL"),
    # Nobody becomes more than he is.
    *((role, "CREATE TABLE ledger.mine (id int)") for role in SERVICES),
    *((role, "CREATE SCHEMA mine") for role in SERVICES),
    *((role, "CREATE ROLE mine") for role in SERVICES),
    *((role, "SET ROLE paycore_owner") for role in SERVICES),
    *((role, "CREATE TABLE public.mine (id int)") for role in SERVICES),
]


async def test_what_is_forbidden_is_refused(connect: Connect, accounts: list[AccountId]) -> None:
    allowed = []
    for role in SERVICES:
        connection = await connect(role)
        # Reading roles are read-only besides; what counts here is that they lack the right.
        await connection.execute("SET default_transaction_read_only = off")
        for who, sql in FORBIDDEN:
            if who != role:
                continue
            attempt = connection.transaction()
            await attempt.start()
            try:
                await connection.execute(sql)
            except asyncpg.InsufficientPrivilegeError:
                pass
            else:
                allowed.append((role, sql))
            finally:
                await attempt.rollback()
    assert allowed == []


NEVER_CHANGED = (
    *(table for table in APPEND_ONLY if not table.endswith("_details")),
    *SEALS,
)
"""Personal data is apart because it may have to go."""

IMMUTABLE = ("kind", "currency", "owner", "institution", "opened_by", "created_at_us", "id")
"""What an account is."""


def rewritings() -> list[str]:
    """Every way to rewrite history that is open to who may do everything with rows."""
    return [
        *(f"UPDATE {table} SET {COLUMN[table]} = {COLUMN[table]}" for table in NEVER_CHANGED),
        *(f"DELETE FROM {table} WHERE false" for table in (*NEVER_CHANGED, "ledger.accounts")),
        *(f"TRUNCATE {table} CASCADE" for table in (*NEVER_CHANGED, "ledger.accounts")),
        *(f"UPDATE ledger.accounts SET {column} = {column}" for column in IMMUTABLE),
        "UPDATE ledger.account_details SET metadata = metadata",
        "DELETE FROM ledger.transfer_details WHERE false",
        "TRUNCATE ledger.transfer_details",
        "TRUNCATE ledger.account_details",
        "TRUNCATE ledger.grants",
        "TRUNCATE ledger.scheme_grants",
        "TRUNCATE ledger.step_up_policies",
        "TRUNCATE ledger.limits",
        "TRUNCATE ledger.risk_rules",
        "TRUNCATE webhooks.subscriptions CASCADE",
        "TRUNCATE webhooks.secrets",
        *(sql for table in EVENTS for sql in change(table)[:3]),
    ]


@pytest.mark.parametrize("replica", [False, True], ids=["", "as a replica"])
async def test_history_is_closed_to_the_owner_and_to_superusers(
    connect: Connect, accounts: list[AccountId], replica: bool
) -> None:
    admin = await connect("admin")
    if replica:
        # Ordinary triggers do not fire for what replication applies.
        await admin.execute("SET session_replication_role = replica")
    sessions = [admin] if replica else [admin, await connect("owner")]
    for session in sessions:
        for sql in rewritings():
            with pytest.raises(asyncpg.RestrictViolationError, match="does not allow"):
                await session.execute(sql)


@pytest.mark.parametrize("role", ["query", "audit"])
async def test_reading_roles_start_read_only(connect: Connect, role: str) -> None:
    connection = await connect(role)
    assert await connection.fetchval("SHOW default_transaction_read_only") == "on"


UNBOUNDED_STATEMENTS = {"paycore_owner", "paycore_audit"}
"""Migrations and verification take as long as the data is large."""


async def test_no_role_can_hold_the_others_up_for_ever(connect: Connect) -> None:
    admin = await connect("admin")
    rows = await admin.fetch(
        "SELECT rolname, rolsuper, rolconfig FROM pg_roles WHERE rolname LIKE 'paycore%'"
    )
    assert {row["rolname"] for row in rows} >= {
        "paycore_owner",
        *map("paycore_{}".format, SERVICES),
    }
    for row in rows:
        role = row["rolname"]
        stated = dict(setting.split("=", 1) for setting in row["rolconfig"] or ())
        assert not row["rolsuper"], role
        assert stated["idle_in_transaction_session_timeout"] != "0", role
        assert stated["lock_timeout"] != "0", role
        # Stated even where there is none, so that no default of a server decides.
        assert (stated["statement_timeout"] == "0") == (role in UNBOUNDED_STATEMENTS), role


@pytest.mark.parametrize("role", ["owner", *SERVICES])
async def test_a_session_has_the_bounds_of_its_role(connect: Connect, role: str) -> None:
    connection = await connect(role)
    for setting in ("idle_in_transaction_session_timeout", "lock_timeout"):
        assert await connection.fetchval(f"SHOW {setting}") not in ("0", ""), setting
    unbounded = f"paycore_{role}" in UNBOUNDED_STATEMENTS
    assert (await connection.fetchval("SHOW statement_timeout") == "0") == unbounded


async def test_a_forgotten_transaction_is_ended(connect: Connect) -> None:
    connection = await connect("command")
    await connection.execute("SET idle_in_transaction_session_timeout = '50ms'")
    await connection.execute("BEGIN")
    await asyncio.sleep(0.3)
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        await connection.execute("SELECT 1")


@pytest.mark.parametrize(
    ("role", "tables"),
    [
        ("command", (*LEDGER, *WEBHOOKS)),
        ("audit", (*LEDGER, *SEALS)),
        (
            "projector",
            (
                "ledger.journal",
                "ledger.transfers",
                "ledger.declines",
                "ledger.accounts",
                "ledger.grants",
                *PROJECTION,
                *SEALS,
                "webhooks.subscriptions",
                "webhooks.secrets",
                "webhooks.deliveries",
            ),
        ),
        (
            "query",
            (
                "ledger.transfers",
                "ledger.accounts",
                "ledger.grants",
                "ledger.external_identifiers",
            ),
        ),
        ("signing", SIGNING),
    ],
)
async def test_what_is_needed_is_allowed(
    connect: Connect, accounts: list[AccountId], role: str, tables: tuple[str, ...]
) -> None:
    connection = await connect(role)
    for table in tables:
        await connection.execute(read(table))
