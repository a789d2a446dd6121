"""Whoever changes what is not a transfer, by whatever way, leaves a row of the audit."""

from __future__ import annotations

import asyncpg
import pytest

from paycore.domain.accounts import AccountId
from tests.integration.database.conftest import Connect
from tests.support.account_commands import Audited, audited

BY_HAND = ("paycore_owner", None, None, None)


async def by_hand(
    session: asyncpg.Connection,
    setting: str,
    account: AccountId,
    *,
    revision: str = "revision + 1",
) -> None:
    """Change an account as one does in psql."""
    await session.execute(
        f"UPDATE ledger.accounts SET {setting}, revision = {revision} WHERE id = $1", account
    )


@pytest.fixture
async def owner(connect: Connect) -> asyncpg.Connection:
    """Who may do everything with the tables."""
    return await connect("owner")


async def test_what_is_set_by_hand_is_audited(
    owner: asyncpg.Connection, accounts: list[AccountId]
) -> None:
    a = accounts[1]
    await by_hand(owner, "overdraft_limit = 9", a)
    await by_hand(owner, "status = 'FROZEN'", a)
    first, second = await audited(owner, a)
    assert first[:7] == (
        "SET_OVERDRAFT_LIMIT",
        {"overdraft_limit": 0, "revision": 0, "version": 2},
        {"overdraft_limit": 9, "revision": 1, "version": 2},
        *BY_HAND,
    )
    assert second[:7] == (
        "SET_STATUS",
        {"status": "ACTIVE", "revision": 1},
        {"status": "FROZEN", "revision": 2},
        *BY_HAND,
    )
    assert first.database_user == second.database_user == "paycore_owner"
    assert first.ip_address == "127.0.0.1"
    assert 0 < first.id < second.id < min(accounts)


@pytest.mark.parametrize("setting", ["overdraft_limit = 9", "status = 'FROZEN'"])
async def test_a_change_that_does_not_raise_the_revision_by_one_is_refused(
    owner: asyncpg.Connection, accounts: list[AccountId], setting: str
) -> None:
    for revision in ("revision", "revision + 2"):
        with pytest.raises((asyncpg.CheckViolationError, asyncpg.RestrictViolationError)):
            await by_hand(owner, setting, accounts[1], revision=revision)
    assert await audited(owner, accounts[1]) == []


async def test_a_statement_that_changes_both_of_many_accounts_is_audited_for_each(
    owner: asyncpg.Connection, accounts: list[AccountId]
) -> None:
    _, a, b = accounts
    await owner.execute(
        "UPDATE ledger.accounts"
        " SET overdraft_limit = 9, status = 'FROZEN', revision = revision + 1"
        " WHERE kind = 'CUSTOMER'"
    )
    for which in (a, b):
        assert {row.action for row in await audited(owner, which)} == {
            "SET_OVERDRAFT_LIMIT",
            "SET_STATUS",
        }


async def test_as_a_replica_too(connect: Connect, accounts: list[AccountId]) -> None:
    admin = await connect("admin")
    await admin.execute("SET session_replication_role = replica")
    await by_hand(admin, "overdraft_limit = 9", accounts[1])
    assert len(await audited(admin, accounts[1])) == 1


async def test_an_account_born_with_a_limit_is_audited_and_a_plain_one_is_not(
    owner: asyncpg.Connection,
) -> None:
    for account, given in ((7, 5), (8, 0)):
        await owner.execute(
            "INSERT INTO ledger.accounts (id, kind, currency, owner, institution, opened_by,"
            " overdraft_limit, created_at_us) VALUES ($1, 'CUSTOMER', 'EUR', 'o', 'i', 'c', $2, 1)",
            account,
            given,
        )
    (row,) = await audited(owner, AccountId(7))
    assert (row.before, row.after) == (None, {"overdraft_limit": 5, "revision": 0, "version": 0})
    assert await audited(owner, AccountId(8)) == []


async def test_an_identifier_linked_by_hand_is_audited(
    owner: asyncpg.Connection, accounts: list[AccountId]
) -> None:
    await owner.execute(
        "INSERT INTO ledger.external_identifiers VALUES ($1, 1, 'stripe', 'cus_1')", accounts[1]
    )
    (row,) = await audited(owner, accounts[1])
    assert row[:4] == (
        "LINK_IDENTIFIER",
        None,
        {"scheme": "stripe", "value": "cus_1"},
        "paycore_owner",
    )


async def test_grants_are_audited_as_they_come_change_and_go(owner: asyncpg.Connection) -> None:
    await owner.execute("INSERT INTO ledger.grants VALUES ('new', 'READ', 'OWN', '')")
    await owner.execute("UPDATE ledger.grants SET scope = 'ALL' WHERE client = 'new'")
    await owner.execute("DELETE FROM ledger.grants WHERE client = 'new'")
    own = {"client": "new", "action": "READ", "scope": "OWN", "institution": ""}
    wide = {**own, "scope": "ALL"}
    rows = await audited(owner, subject="grant/new")
    assert [row[:3] for row in rows] == [
        ("ADD_GRANT", None, own),
        ("CHANGE_GRANT", own, wide),
        ("REMOVE_GRANT", wide, None),
    ]


async def test_rules_of_risk_are_audited(owner: asyncpg.Connection) -> None:
    await owner.execute("INSERT INTO ledger.risk_rules (currency, daily_limit) VALUES ('CHF', 5)")
    await owner.execute("UPDATE ledger.risk_rules SET daily_limit = 6")
    await owner.execute("DELETE FROM ledger.risk_rules")
    rows = await audited(owner, subject="risk_rule/CHF")
    assert [row.action for row in rows] == [
        "ADD_RISK_RULE",
        "CHANGE_RISK_RULE",
        "REMOVE_RISK_RULE",
    ]


async def test_limits_are_audited_under_their_place(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO ledger.limits (client, method, name, switched_off, per_s, burst)"
        " VALUES ('app', 'p.S/M', 'device', false, 0.5, 9)"
    )
    await owner.execute("UPDATE ledger.limits SET burst = 7")
    await owner.execute("DELETE FROM ledger.limits")
    await owner.execute(
        "INSERT INTO ledger.limits (client, method, name, switched_off)"
        " VALUES ('', '', 'user', true)"
    )
    rows = await audited(owner, subject="limit/app/p.S/M/device")
    assert [row.action for row in rows] == ["ADD_LIMIT", "CHANGE_LIMIT", "REMOVE_LIMIT"]
    (none, added), (before, after), (last, gone) = (row[1:3] for row in rows)
    assert (none, gone) == (None, None)
    assert (added, last) == (before, after)
    assert (before["per_s"], before["burst"], after["burst"]) == (0.5, 9, 7)
    assert [row[3:5] for row in rows] == [("paycore_owner", None)] * 3
    (everybody,) = await audited(owner, subject="limit/*/user")
    assert everybody.after is not None
    assert everybody.after["switched_off"] is True


async def test_schemes_given_and_taken_are_audited(owner: asyncpg.Connection) -> None:
    await owner.execute("INSERT INTO ledger.scheme_grants VALUES ('new', 'stripe')")
    await owner.execute("DELETE FROM ledger.scheme_grants WHERE client = 'new'")
    given = {"client": "new", "scheme": "stripe"}
    rows = await audited(owner, subject="scheme_grant/new")
    assert [row[:3] for row in rows] == [
        ("ADD_SCHEME_GRANT", None, given),
        ("REMOVE_SCHEME_GRANT", given, None),
    ]


async def test_step_up_policies_are_audited(owner: asyncpg.Connection) -> None:
    await owner.execute("INSERT INTO ledger.step_up_policies VALUES ('CHF', 5)")
    await owner.execute("UPDATE ledger.step_up_policies SET threshold = 6 WHERE currency = 'CHF'")
    await owner.execute("DELETE FROM ledger.step_up_policies WHERE currency = 'CHF'")
    rows = await audited(owner, subject="step_up_policy/CHF")
    assert [row.action for row in rows] == [
        "ADD_STEP_UP_POLICY",
        "CHANGE_STEP_UP_POLICY",
        "REMOVE_STEP_UP_POLICY",
    ]
    before, after = rows[1][1:3]
    assert (before["currency"], before["threshold"], after["threshold"]) == ("CHF", 5, 6)
    assert before["daily_total"] is None


async def test_who_a_service_acts_for_ends_with_its_transaction(
    connect: Connect, accounts: list[AccountId]
) -> None:
    command = await connect("command")
    raised = "overdraft_limit = overdraft_limit + 1"
    async with command.transaction():
        for name, value in (
            ("client", "operator"),
            ("user_id", "clerk"),
            ("reason", "agreed"),
            ("audit_id", "4000000000000000000"),
        ):
            await command.execute("SELECT set_config($1, $2, true)", f"paycore.{name}", value)
        await by_hand(command, raised, accounts[1])
        await by_hand(command, raised, accounts[1])
    await by_hand(command, raised, accounts[1])
    told: list[Audited] = await audited(command, accounts[1])
    named = ("operator", "agreed", "clerk", None, None, "paycore_command")
    alone = ("paycore_command", None, None, None, "127.0.0.1", "paycore_command")
    assert [row[3:9] for row in told] == [named, named, alone]
    # An id given is good for one row.
    assert told[0].id == 4_000_000_000_000_000_000
    assert told[1].id < told[2].id < min(accounts)


async def test_a_posting_audits_nothing(connect: Connect, accounts: list[AccountId]) -> None:
    owner = await connect("owner")
    count = "SELECT count(*) FROM ledger.audit WHERE subject LIKE 'account/%'"
    assert await owner.fetchval("SELECT count(*) FROM ledger.transfers") > 0
    assert await owner.fetchval(count) == 0
