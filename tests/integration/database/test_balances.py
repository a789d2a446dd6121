"""Balances change by transfers and by nothing else, and only by transfers that follow on them."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from paycore.domain.accounts import AccountId
from tests.integration.database.conftest import Connect, Posted
from tests.support.ledger_checks import violations

ROLES = ("command", "signing", "projector", "query", "audit", "owner", "admin")
REFUSED = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.RestrictViolationError,
    asyncpg.ReadOnlySQLTransactionError,
)

COLUMNS = (
    "id, debit_account, credit_account, amount, debit_version, credit_version,"
    " debit_balance_after, credit_balance_after, debit_held_after, created_at_us, kind, step_up,"
    " currency, client, parent_id, parent_sequence, parent_remaining, parent_state, released,"
    " expires_at_us"
)
NEXT: dict[str, Any] = {
    "id": 900,
    "amount": 5,
    "debit_version": 3,
    "credit_version": 3,
    "debit_balance_after": 985,
    "credit_balance_after": 1_015,
    "debit_held_after": 0,
    "created_at_us": 2_000_000_000_000_000,
    "kind": "TRANSFER",
    "step_up": "NOT_APPLICABLE",
    "currency": "EUR",
    "client": "c",
    "parent_id": None,
    "parent_sequence": None,
    "parent_remaining": None,
    "parent_state": None,
    "released": None,
    "expires_at_us": None,
}
"""What follows on the accounts of the fixture: 990 and 1,010 after two entries each."""

HOLD = {
    "kind": "HOLD",
    "credit_version": None,
    "credit_balance_after": None,
    "debit_balance_after": 990,
    "debit_held_after": 5,
}
CAPTURE: dict[str, Any] = {
    "id": 901,
    "kind": "CAPTURE",
    "debit_version": 4,
    "parent_id": 900,
    "parent_sequence": 1,
    "parent_remaining": 0,
    "parent_state": "CAPTURED",
    "created_at_us": 2_000_000_000_000_001,
}


EXPIRY: dict[str, Any] = {
    **CAPTURE,
    **HOLD,
    "kind": "RELEASE",
    "debit_held_after": 0,
    "parent_state": "EXPIRED",
}


async def insert(connection: asyncpg.Connection, accounts: list[AccountId], **changes: Any) -> None:
    row = {"debit_account": accounts[1], "credit_account": accounts[2], **NEXT, **changes}
    names = COLUMNS.split(", ")
    marks = ", ".join(f"${place}" for place in range(1, len(names) + 1))
    await connection.execute(
        f"INSERT INTO ledger.transfers ({COLUMNS}) VALUES ({marks})",
        *(row[name] for name in names),
    )


async def figures(connection: asyncpg.Connection, account: AccountId) -> tuple[Any, ...]:
    return tuple(
        await connection.fetchrow(
            "SELECT balance, held, version FROM ledger.accounts WHERE id = $1", account
        )
    )


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("column", ["balance", "held", "version", "last_entry_us"])
async def test_nobody_writes_them(on_posted: Connect, role: str, column: str) -> None:
    connection = await on_posted(role)
    with pytest.raises(REFUSED):
        await connection.execute(f"UPDATE ledger.accounts SET {column} = {column} + 1")


@pytest.mark.parametrize("role", ["command", "owner", "admin"])
async def test_accounts_are_born_at_zero(on_posted: Connect, role: str) -> None:
    connection = await on_posted(role)
    with pytest.raises(REFUSED):
        await connection.execute(
            "INSERT INTO ledger.accounts"
            " (id, kind, currency, owner, institution, opened_by, created_at_us, balance)"
            " VALUES (5, 'CUSTOMER', 'EUR', 'o', 'b', 'c', 1, 1)"
        )


async def test_an_inserted_transfer_is_applied(connect: Connect, accounts: list[AccountId]) -> None:
    command = await connect("command")
    await insert(command, accounts)
    assert await figures(command, accounts[1]) == (985, 0, 3)
    assert await figures(command, accounts[2]) == (1_015, 0, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"debit_version": 4},
        {"debit_version": 2},
        {"credit_version": 4},
        {"debit_balance_after": 984},
        {"credit_balance_after": 1_016},
        {"debit_held_after": 1},
        {"created_at_us": 1},
        {"currency": "USD"},
        {"amount": 6},
        {**HOLD, "debit_held_after": 6},
        {**HOLD, "debit_balance_after": 985},
    ],
    ids=str,
)
async def test_one_that_does_not_follow_on_its_accounts_is_refused(
    on_posted: Connect, posted: Posted, changes: dict[str, Any]
) -> None:
    admin = await on_posted("admin")
    before = [await figures(admin, account) for account in posted.accounts]
    with pytest.raises((asyncpg.SerializationError, asyncpg.UniqueViolationError)):
        async with admin.transaction():
            await insert(admin, posted.accounts, **changes)
    assert [await figures(admin, account) for account in posted.accounts] == before


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize(("status", "stops"), [("FROZEN", (1,)), ("ACTIVE", ())])
async def test_a_frozen_account_is_not_debited(
    connect: Connect, accounts: list[AccountId], side: int, status: str, stops: tuple[int, ...]
) -> None:
    admin = await connect("admin")
    await admin.execute(
        f"UPDATE ledger.accounts SET status = '{status}', revision = revision + 1 WHERE id = $1",
        accounts[side],
    )
    if side in stops:
        with pytest.raises(asyncpg.SerializationError):
            await insert(admin, accounts)
    else:
        await insert(admin, accounts)


async def test_a_transfer_takes_nothing_from_the_world_outside(
    connect: Connect, accounts: list[AccountId]
) -> None:
    admin = await connect("admin")
    entry = {
        "debit_account": accounts[0],
        "credit_account": accounts[1],
        "debit_balance_after": -2_005,
        "credit_balance_after": 995,
    }
    with pytest.raises(asyncpg.SerializationError):
        await insert(admin, accounts, **entry)
    await insert(admin, accounts, **entry, kind="DEPOSIT")


@pytest.mark.parametrize("role", ["owner", "admin"])
async def test_closed_is_closed_and_revisions_count(
    connect: Connect, accounts: list[AccountId], role: str
) -> None:
    connection = await connect(role)
    for revision in ("revision + 2", "revision", "9223372036854775807"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(f"UPDATE ledger.accounts SET revision = {revision}")
    new = "(id, kind, currency, owner, institution, opened_by, created_at_us)"
    await connection.execute(
        f"INSERT INTO ledger.accounts {new} VALUES (5, 'CUSTOMER', 'EUR', 'o', 'b', 'c', 1)"
    )
    change = "UPDATE ledger.accounts SET status = '{}', revision = revision + 1 WHERE id = 5"
    await connection.execute(change.format("CLOSED"))
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute(change.format("ACTIVE"))


@pytest.mark.parametrize("missing", ["debit_account", "credit_account"])
async def test_both_accounts_must_be_there(
    on_posted: Connect, posted: Posted, missing: str
) -> None:
    admin, accounts = await on_posted("admin"), posted.accounts
    with pytest.raises(asyncpg.SerializationError):
        async with admin.transaction():
            await insert(admin, accounts, **{missing: 77, "debit_version": 3, "credit_version": 3})
    with pytest.raises((asyncpg.SerializationError, asyncpg.CheckViolationError)):
        await insert(admin, accounts, **{**HOLD, missing: 77})


class TestChildren:
    async def test_a_capture_that_follows_its_hold_is_applied(
        self, connect: Connect, accounts: list[AccountId]
    ) -> None:
        command = await connect("command")
        await insert(command, accounts, **HOLD)
        assert await figures(command, accounts[1]) == (990, 5, 3)
        assert await command.fetchval("SELECT remaining FROM ledger.open_holds") == 5
        await insert(command, accounts, **CAPTURE)
        assert await figures(command, accounts[1]) == (985, 0, 4)
        assert await command.fetchval("SELECT count(*) FROM ledger.open_holds") == 0

    @pytest.mark.parametrize(
        "changes",
        [
            {"parent_id": 899},
            {"parent_sequence": 2},
            {"parent_remaining": 1},
            {"amount": 4, "debit_balance_after": 986, "credit_balance_after": 1_014,
             "debit_held_after": 1},
            {"kind": "REFUND", "debit_held_after": 5},
            {"kind": "REVERSAL", "debit_held_after": 5},
        ],
        ids=str,
    )  # fmt: skip
    async def test_one_that_does_not_follow_its_parent_is_refused(
        self, on_posted: Connect, posted: Posted, changes: dict[str, Any]
    ) -> None:
        admin, accounts = await on_posted("admin"), posted.accounts
        await insert(admin, accounts, **HOLD)
        with pytest.raises(asyncpg.CheckViolationError, match="follow its parent"):
            await insert(admin, accounts, **{**CAPTURE, **changes})

    @pytest.mark.parametrize("missing", ["parent_sequence", "parent_remaining", "parent_state"])
    async def test_nothing_of_it_may_be_left_out(
        self, on_posted: Connect, posted: Posted, missing: str
    ) -> None:
        admin, accounts = await on_posted("admin"), posted.accounts
        await insert(admin, accounts, **HOLD)
        with pytest.raises(asyncpg.CheckViolationError):
            await insert(admin, accounts, **{**CAPTURE, missing: None})

    @pytest.mark.parametrize("state", ["PARTIALLY_CAPTURED", "RELEASED", "REFUNDED"])
    async def test_the_state_is_what_it_leaves_behind(
        self, on_posted: Connect, posted: Posted, state: str
    ) -> None:
        admin, accounts = await on_posted("admin"), posted.accounts
        await insert(admin, accounts, **HOLD)
        with pytest.raises(asyncpg.CheckViolationError, match="follow its parent"):
            await insert(admin, accounts, **{**CAPTURE, "parent_state": state})

    async def test_in_another_month_nothing_begins_anew(
        self, connect: Connect, accounts: list[AccountId]
    ) -> None:
        """A second capture, of what another hold set aside, with an id of another partition."""
        admin = await connect("admin")
        await insert(admin, accounts, **HOLD)
        other = {"id": 902, "debit_version": 4, "debit_held_after": 10}
        await insert(admin, accounts, **{**HOLD, **other, "created_at_us": 2 * 10**15 + 5})
        first = {"debit_version": 5, "debit_held_after": 5, "created_at_us": 2 * 10**15 + 6}
        await insert(admin, accounts, **{**CAPTURE, **first})
        later = await admin.fetchval("SELECT ledger.first_transfer_id(now() + interval '6 months')")
        second = {
            "id": later,
            "debit_version": 6,
            "credit_version": 4,
            "debit_balance_after": 980,
            "credit_balance_after": 1_020,
            "debit_held_after": 0,
            "created_at_us": 2 * 10**15 + 7,
        }
        with pytest.raises(asyncpg.CheckViolationError, match="follow its parent"):
            await insert(admin, accounts, **{**CAPTURE, **second})

    async def test_past_the_deadline_nothing_is_captured(
        self, connect: Connect, accounts: list[AccountId]
    ) -> None:
        admin = await connect("admin")
        await insert(admin, accounts, **{**HOLD, "expires_at_us": CAPTURE["created_at_us"]})
        with pytest.raises(asyncpg.CheckViolationError, match="follow its parent"):
            await insert(admin, accounts, **CAPTURE)

    async def test_before_the_deadline_nothing_expires_whatever_time_the_row_bears(
        self, connect: Connect, accounts: list[AccountId]
    ) -> None:
        admin = await connect("admin")
        await insert(admin, accounts, **{**HOLD, "expires_at_us": EXPIRY["created_at_us"]})
        with pytest.raises(asyncpg.CheckViolationError, match="follow its parent"):
            await insert(admin, accounts, **EXPIRY)
        await insert(admin, accounts, **{**EXPIRY, "parent_state": "RELEASED"})

    async def test_past_it_a_hold_expires(
        self, connect: Connect, accounts: list[AccountId]
    ) -> None:
        admin = await connect("admin")
        now_us = await admin.fetchval(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        )
        times = {"created_at_us": now_us, "expires_at_us": now_us + 1}
        await insert(admin, accounts, **{**HOLD, **times})
        early = {**EXPIRY, "created_at_us": now_us}
        with pytest.raises((asyncpg.CheckViolationError, asyncpg.SerializationError)):
            await insert(admin, accounts, **early)
        await insert(admin, accounts, **{**EXPIRY, "created_at_us": now_us + 1})

    @pytest.mark.parametrize(("ahead_us", "allowed"), [(0, False), (1, True)])
    async def test_a_hold_is_not_over_when_it_is_made(
        self, on_posted: Connect, posted: Posted, ahead_us: int, allowed: bool
    ) -> None:
        admin, accounts = await on_posted("admin"), posted.accounts
        hold = {**HOLD, "expires_at_us": NEXT["created_at_us"] + ahead_us}
        if allowed:
            await insert(admin, accounts, **hold)
        else:
            with pytest.raises(asyncpg.CheckViolationError, match="transfers_deadline"):
                await insert(admin, accounts, **hold)

    async def test_nothing_follows_what_is_over(
        self, connect: Connect, accounts: list[AccountId]
    ) -> None:
        admin = await connect("admin")
        await insert(admin, accounts, **HOLD)
        await insert(admin, accounts, **CAPTURE)
        again = {
            **HOLD,
            "id": 902,
            "kind": "RELEASE",
            "parent_id": 900,
            "parent_sequence": 2,
            "parent_remaining": 0,
            "parent_state": "RELEASED",
            "debit_version": 5,
            "debit_balance_after": 985,
            "debit_held_after": -5,
            "created_at_us": CAPTURE["created_at_us"] + 1,
        }
        with pytest.raises((asyncpg.CheckViolationError, asyncpg.SerializationError)):
            await insert(admin, accounts, **again)


async def test_open_holds_are_written_by_nobody_but_transfers(
    connect: Connect, accounts: list[AccountId]
) -> None:
    command = await connect("command")
    for statement in (
        "INSERT INTO ledger.open_holds (id, account, remaining) VALUES (1, 1, 1)",
        "UPDATE ledger.open_holds SET remaining = 1",
        "DELETE FROM ledger.open_holds",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await command.execute(statement)


async def test_the_fixture_s_ledger_is_whole(connect: Connect, accounts: list[AccountId]) -> None:
    assert await violations(await connect("admin")) == []
