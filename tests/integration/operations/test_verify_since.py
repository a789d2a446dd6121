"""Verification since an earlier one finds what is wrong with what was written since."""

import asyncpg
import pytest

from operations.errors import UsageError
from operations.verify.rules import RULES
from operations.verify.scope import After, Last
from paycore.domain.position import Position
from tests.integration.operations.small_ledger import ADA, BOB, PAID, START_US, SmallLedger
from tests.support.databases import OwnDatabase

NEW = 200
"""A payment of Ada to Bob after the verification: the 9th entry of hers, the 11th of his."""


@pytest.fixture
async def verified(ledger: SmallLedger) -> SmallLedger:
    """The small ledger, verified, and one payment since."""
    report = await ledger.verify()
    assert report.held
    await ledger.pay_more(NEW, 106, (8, 10))
    return ledger


async def failed(ledger: SmallLedger) -> set[str]:
    """Names of the rules that a verification since the last one finds broken."""
    report = await ledger.verify(Last())
    broken = {check.rule for check in report.checks if not check.held}
    return {name for name, rule in RULES.items() if rule.text in broken}


async def test_nothing_can_be_verified_since_what_never_was(ledger: SmallLedger) -> None:
    with pytest.raises(UsageError, match="nothing has been verified yet"):
        await ledger.verify(Last())


async def test_only_what_is_new_is_examined(verified: SmallLedger) -> None:
    report = await verified.verify(Last())
    assert report.held
    assert report.transfers == 1
    assert report.since is not None
    assert report.since.journal_id == 105
    assert report.check(RULES["versions"].text).examined == 2
    assert report.check(RULES["keys"].text).examined == 1
    assert report.position.journal_id == 106
    again = await verified.verify(Last())
    assert again.held
    assert again.check(RULES["versions"].text).examined == 0


async def test_each_verification_that_held_is_recorded_with_what_it_builds_on(
    verified: SmallLedger,
) -> None:
    await verified.verify(Last())
    await verified.tamper(f"UPDATE ledger.transfers SET amount = 2 WHERE id = {NEW}")
    await verified.verify()
    rows = await verified.fetch(
        "SELECT since, journal_id, (checks ->> $1)::int AS entries FROM ledger.verifications"
        " ORDER BY id",
        RULES["versions"].text,
    )
    assert [(row["journal_id"], row["entries"]) for row in rows] == [(105, 19), (106, 2)]
    assert rows[0]["since"] is None
    assert rows[1]["since"] is not None


async def test_a_position_may_be_given_and_is_not_recorded(verified: SmallLedger) -> None:
    row = await verified.fetch("SELECT xid FROM ledger.journal WHERE id = 104")
    report = await verified.verify(After(Position(1, int(row[0]["xid"]), 104)))
    assert report.held
    assert report.check(RULES["versions"].text).examined == 6
    assert len(await verified.fetch("SELECT FROM ledger.verifications")) == 1
    with pytest.raises(UsageError, match="epoch 2"):
        await verified.verify(After(Position(2, 1, 1)))


def new(change: str) -> str:
    return f"UPDATE ledger.transfers SET {change} WHERE id = {NEW}"


TAMPERED = {
    "an amount": ([new("amount = 2")], {"balances"}),
    "a balance": ([new("debit_balance_after = 520")], {"balances", "accounts"}),
    "an amount held": ([new("debit_held_after = 7")], {"held_after"}),
    "a time": ([new(f"created_at_us = {START_US}")], {"times", "accounts"}),
    "a version": ([new("debit_version = 10")], {"versions", "accounts"}),
    "a version that was there": ([new("credit_version = 3")], {"versions", "balances"}),
    "the payee": (
        [new("credit_account = 1, credit_version = 2")], {"balances", "sides", "accounts"},
    ),
    "the kind": ([new("kind = 'WITHDRAWAL'")], {"sides"}),
    "its key": (["DELETE FROM ledger.idempotency_keys WHERE journal_id = 106"], {"keys"}),
    "its key's client": (
        ["UPDATE ledger.idempotency_keys SET client = 'thief' WHERE journal_id = 106"], {"keys"},
    ),
    "its journal row": (
        ["UPDATE ledger.journal SET transfers = '{}' WHERE id = 106"],
        {"journal", "positions"},
    ),
    "the journal row itself": (
        ["DELETE FROM ledger.journal WHERE id = 106"], {"journal"},
    ),
    "an old one listed again": (
        [f"UPDATE ledger.journal SET transfers = ARRAY[{PAID}, {NEW}]::bigint[] WHERE id = 106"],
        {"journal", "positions"},
    ),
    "the account after it": (
        [f"UPDATE ledger.accounts SET version = 8 WHERE id = {ADA}"], {"accounts"},
    ),
    "money from nothing": (
        [f"UPDATE ledger.accounts SET balance = balance + 7 WHERE id = {BOB}"],
        {"accounts", "sums"},
    ),
    "what is held": (["DELETE FROM ledger.open_holds"], {"held"}),
    "a refund that exceeds its parent": (
        [
            "ALTER TABLE ledger.transfers DROP CONSTRAINT transfers_child",
            new(f"kind = 'REFUND', parent_id = {PAID}, parent_sequence = 2, parent_remaining = 70,"
                " parent_state = 'PARTIALLY_REFUNDED'"),
        ],
        {"children", "constraints"},
    ),
    "a group that does not exist": ([new("group_id = 49")], {"groups", "keys"}),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_is_wrong_with_the_new_part_is_found(verified: SmallLedger, what: str) -> None:
    statements, rules = TAMPERED[what]
    await verified.tamper(*statements)
    found = await failed(verified)
    assert rules <= found
    # And it is not taken for verified.
    assert len(await verified.fetch("SELECT FROM ledger.verifications")) == 1


@pytest.mark.parametrize("again", ["an old key", "a key of since"])
async def test_a_new_key_that_is_there_twice_is_found_where_no_index_forbids_it(
    verified: SmallLedger, again: str
) -> None:
    if again == "an old key":
        used, renamed = f"pay-{PAID}", f"pay-{NEW}"
    else:
        await verified.pay_more(NEW + 1, 107, (9, 11))
        used, renamed = f"pay-{NEW}", f"pay-{NEW + 1}"
    assert await failed(verified) == set()
    await verified.tamper("DELETE FROM ledger.verifications WHERE since IS NOT NULL")
    await verified.tamper(
        "DROP INDEX ledger.idempotency_keys_once",
        f"UPDATE ledger.idempotency_keys SET key = '{used}' WHERE key = '{renamed}'",
    )
    report = await verified.verify(Last())
    assert {"keys", "constraints"} <= await failed(verified)
    first = report.check(RULES["keys"].text).first_violation
    assert first == {
        "client": "app",
        "key": used,
        "keys": 2,
        "id": PAID if again == "an old key" else NEW,
    }


async def test_an_old_row_that_was_edited_is_left_to_the_whole_verification(
    verified: SmallLedger,
) -> None:
    await verified.tamper(f"UPDATE ledger.transfers SET amount = 101 WHERE id = {PAID}")
    assert await failed(verified) == set()
    assert not (await verified.verify()).held


async def test_the_record_can_only_grow(
    verified: SmallLedger, ledger_database: OwnDatabase
) -> None:
    audit = await asyncpg.connect(ledger_database.dsn("audit"))
    try:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await audit.execute("DELETE FROM ledger.verifications")
        await audit.execute("SET default_transaction_read_only = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await audit.execute("DELETE FROM ledger.verifications")
    finally:
        await audit.close()
    with pytest.raises(asyncpg.RestrictViolationError):
        await verified.run("UPDATE ledger.verifications SET journal_id = 0")
