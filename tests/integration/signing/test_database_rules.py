"""What the tables themselves enforce, and who may see them."""

from __future__ import annotations

import asyncpg
import pytest

from deploy.local import Endpoints
from signing_service.attempts import Reserved
from signing_service.clean_up import clean_up
from tests.integration.signing.signer import PIN, WRONG, Signer, payment

TABLES = (
    "pins",
    "attempt_counters",
    "attempts",
    "authorizations",
    "devices",
    "spent_enrolments",
    "spent_challenges",
    "data_keys",
    "destroyed_data_keys",
    "known_keys",
    "keys_in_use",
    "events",
)
ALL_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'signing'"


@pytest.mark.parametrize(
    "role",
    ["paycore_command", "paycore_projector", "paycore_query", "paycore_audit", "paycore_trail"],
)
async def test_no_other_service_sees_anything_of_it(
    endpoints: Endpoints, database_name: str, owner: asyncpg.Connection, role: str
) -> None:
    connection = await asyncpg.connect(endpoints.dsn(role, database_name))
    try:
        present = {row["tablename"] for row in await owner.fetch(ALL_TABLES)}
        assert present == set(TABLES)
        for table in TABLES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM signing.{table}")
    finally:
        await connection.close()


async def test_the_signing_service_sees_nothing_else(signing_dsn: str) -> None:
    connection = await asyncpg.connect(signing_dsn)
    try:
        for table in ("ledger.accounts", "ledger.transfers", "ledger.grants"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {table}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE signing.mine (id int)")
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE signing.authorizations SET user_id = 'other'",
        "DELETE FROM signing.authorizations",
        "TRUNCATE signing.authorizations",
    ],
)
async def test_authorizations_are_append_only_even_for_their_owner(
    signer: Signer, owner: asyncpg.Connection, statement: str
) -> None:
    await signer.enrol("user-1")
    await signer.pay("user-1", PIN)
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute(statement)
    async with signer.pool.acquire() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE signing.pins SET user_id = 'other'",
        "DELETE FROM signing.spent_enrolments",
        "UPDATE signing.devices SET public_key = public_key",
        "DELETE FROM signing.devices",
        "DELETE FROM signing.pins",
        "UPDATE signing.attempts SET user_id = 'other'",
        "UPDATE signing.attempts SET digest = digest",
        "DELETE FROM signing.attempt_counters",
    ],
)
async def test_the_service_itself_may_not_change_what_it_recorded(
    signer: Signer, statement: str
) -> None:
    async with signer.pool.acquire() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_the_tables_refuse_a_sixth_failure(signer: Signer, owner: asyncpg.Connection) -> None:
    await signer.refusal(signer.question("user-1", WRONG, payment()))
    with pytest.raises(asyncpg.CheckViolationError):
        await owner.execute("UPDATE signing.attempt_counters SET failures = cleared + 5")


async def test_only_stale_verdicts_are_removed(signer: Signer, owner: asyncpg.Connection) -> None:
    await signer.enrol("user-1")
    fresh = await signer.pay("user-1", PIN)
    await signer.refusal(signer.question("user-1", WRONG, payment()))
    pending = await signer.store.reserve(
        "user-2", proof=b"p" * 32, digest=b"d" * 32, fresh_until_us=0
    )
    assert isinstance(pending, Reserved)
    assert await clean_up(signer.store) == 0
    await owner.execute(
        "UPDATE signing.attempts SET fresh_until_us = 0 WHERE verdict = 'INCORRECT'"
    )
    assert await clean_up(signer.store) == 1
    assert await owner.fetch("SELECT verdict FROM signing.attempts ORDER BY id") == [
        ("CORRECT",),
        (None,),
    ]
    assert await signer.store.find_authorization(fresh.digest) == fresh
    refusal = await signer.refusal(signer.question("user-1", WRONG, payment()))
    assert refusal.metadata == {"attempts_left": "3"}
