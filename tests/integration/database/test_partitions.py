"""Transfers by month: made ahead, beside writers, and as guarded as the whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import psycopg
import pytest

from command_service.posting.store import ConflictError
from operations.migrate.partitions import MONTHS_AHEAD, add_partitions, covered_until
from paycore.domain.accounts import AccountId
from paycore.domain.money import Minor
from paycore.domain.plan import BatchState, Plan
from paycore.domain.planning import plan_batch
from paycore.domain.transfers import ChildCommand, Outcome, Posted, Transfer, TransferKind
from paycore.runtime.snowflake import EPOCH_MS
from tests.bench.measurements.raw import RULES
from tests.integration.database.conftest import Connect
from tests.support.command_core import CLIENT, CommandCore, command_core, payment
from tests.support.databases import OwnDatabase
from tests.support.ledger_checks import violations


def first_id(at: datetime) -> int:
    return (int(at.timestamp() * 1_000) - EPOCH_MS) << 22


def month_from_now(months: int) -> datetime:
    now = datetime.now(UTC)
    number = now.year * 12 + now.month - 1 + months
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


async def post_at(
    core: CommandCore, at: datetime, payer: AccountId, payee: AccountId, amount: int
) -> Transfer:
    """A transfer whose id was made at `at`."""
    first = first_id(at)
    asked = payment(payer, payee, amount)

    def decide(state: BatchState) -> Plan:
        return plan_batch(state, [asked], RULES, core.clock.now_us(), [first + 1])

    (outcome,) = await core.store.post([asked], first, decide)
    assert isinstance(outcome, Posted), outcome
    return outcome.transfer


async def test_a_year_ahead_is_covered_and_asking_again_adds_nothing(
    database: OwnDatabase,
) -> None:
    owner = database.dsn("owner")
    add_partitions(owner)
    assert covered_until(owner) == month_from_now(MONTHS_AHEAD + 1) or covered_until(
        owner
    ) > month_from_now(MONTHS_AHEAD)
    assert add_partitions(owner) == []

    added = add_partitions(owner, MONTHS_AHEAD + 3)

    assert [one.day for one in added] == [1] * len(added)
    assert covered_until(owner) == month_from_now(MONTHS_AHEAD + 4)


async def test_months_are_added_in_their_order(database: OwnDatabase) -> None:
    far = (datetime.now(UTC) + timedelta(days=3_650)).date()
    with (
        psycopg.connect(database.dsn("owner")) as connection,
        pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="in order"),
    ):
        connection.execute("SELECT ledger.add_transfer_partition(%s)", (far,))


async def test_a_partition_is_added_while_others_write(
    database: OwnDatabase, connect: Connect, accounts: list[AccountId]
) -> None:
    """Were the writer's lock in its way, it would wait for it, and fail in the time-out."""
    writer = await connect("command")
    async with writer.transaction():
        await writer.execute("LOCK TABLE ledger.transfers IN ROW EXCLUSIVE MODE")
        await writer.fetch("SELECT * FROM ledger.accounts FOR NO KEY UPDATE")
        with psycopg.connect(database.dsn("owner")) as connection:
            connection.execute("SET lock_timeout = '200ms'")
            added = connection.execute(
                "SELECT ledger.add_transfer_partition(%s)",
                (covered_until(database.dsn("owner")).date(),),
            ).fetchone()
    assert added == (True,)


async def test_an_account_s_history_runs_on_over_the_months(
    database: OwnDatabase, connect: Connect
) -> None:
    admin = await connect("admin")
    async with command_core(database.dsn("command")) as core:
        _, payer, payee = await core.open(2)
        months = [0, 3, 4, 8]
        moved = [
            await post_at(core, month_from_now(month) + timedelta(days=1), payer, payee, 100)
            for month in months
        ]
        used = await admin.fetch("SELECT DISTINCT tableoid FROM ledger.transfers")
        assert len(used) == len(months)
        assert [one.debit_version for one in moved] == [2, 3, 4, 5]
        # What follows may be in another month than its parent, earlier ones too: clocks differ.
        for number, one in enumerate(moved):
            (outcome,) = await refund(core, one, 60, number)
            assert isinstance(outcome, Posted)
            (beyond,) = await refund(core, one, 41, number + 100)
            assert not isinstance(beyond, Posted)
    assert await violations(admin) == []


async def refund(core: CommandCore, of: Transfer, amount: int, number: int) -> list[Outcome]:
    return await core.submit(
        ChildCommand(
            CLIENT,
            f"refund-{number}",
            b"hash",
            TransferKind.REFUND,
            of.id,
            of.credit_account,
            of.debit_account,
            of.currency,
            Minor(amount),
        )
    )


async def test_a_time_that_no_partition_covers_posts_nothing(
    database: OwnDatabase, connect: Connect
) -> None:
    admin = await connect("admin")
    async with command_core(database.dsn("command")) as core:
        _, payer, payee = await core.open(2)
        beyond = covered_until(database.dsn("owner")) + timedelta(days=1)
        before = await admin.fetchval("SELECT count(*) FROM ledger.transfers")
        with pytest.raises(Exception, match="23514"):
            await post_at(core, beyond, payer, payee, 1)
        assert await admin.fetchval("SELECT count(*) FROM ledger.transfers") == before


@pytest.mark.parametrize("role", ["command", "owner", "admin"])
async def test_a_row_put_into_a_partition_itself_is_no_way_round_the_guards(
    connect: Connect, accounts: list[AccountId], role: str
) -> None:
    connection = await connect(role)
    partitions = await (await connect("admin")).fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
        " WHERE inhparent = 'ledger.transfers'::regclass"
    )
    for partition in partitions:
        name = partition["name"]
        for statement in (
            f"UPDATE {name} SET amount = 1",
            f"DELETE FROM {name}",
            f"TRUNCATE {name}",
        ):
            with pytest.raises(
                (asyncpg.InsufficientPrivilegeError, asyncpg.RestrictViolationError)
            ):
                await connection.execute(statement)
    bounds = first_id(month_from_now(0))
    wanted = asyncpg.InsufficientPrivilegeError if role == "command" else ConflictSource
    with pytest.raises(wanted):
        await connection.execute(
            "INSERT INTO ledger.transfers_first (id, debit_account, credit_account, amount,"
            " debit_version, credit_version, debit_balance_after, credit_balance_after,"
            " debit_held_after, created_at_us, kind, step_up, currency, client)"
            " VALUES ($1, $2, $3, 5, 1, 1, -5, 5, 0, 1, 'TRANSFER', 'NOT_APPLICABLE', 'EUR', 'x')",
            bounds + 5,
            accounts[1],
            accounts[2],
        )


ConflictSource = (asyncpg.SerializationError, asyncpg.UniqueViolationError, ConflictError)
