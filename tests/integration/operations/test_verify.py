"""Verification accepts a whole ledger and finds each kind of damage, by its ids.

The damage is done by a superuser with all triggers off, who puts them back.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from operations.verify.report import Check
from operations.verify.rules import RULES
from tests.integration.operations.small_ledger import (
    ADA,
    APPROVED,
    AUTHORIZATION,
    BOB,
    CAPTURED,
    CASH,
    DECLINED,
    DEPOSITED,
    FIRST,
    GROUP,
    HOLD,
    PAID,
    REFUNDED,
    RELEASED,
    REVERSED,
    SECOND,
    SPARE_HOLD,
    START_US,
    SmallLedger,
)


async def broken(ledger: SmallLedger) -> dict[str, Check]:
    """The checks that failed, by name of the rule."""
    report = await ledger.verify()
    failed = {
        name: check
        for name, rule in RULES.items()
        for check in report.checks
        if check.rule == rule.text and not check.held
    }
    assert report.held is (not failed)
    return failed


async def test_a_whole_ledger_passes_and_says_what_was_examined(ledger: SmallLedger) -> None:
    report = await ledger.verify()
    assert [check for check in report.checks if not check.held] == []
    examined = {
        name: check.examined
        for name, rule in RULES.items()
        for check in report.checks
        if check.rule == rule.text
    }
    assert set(examined) == set(RULES)
    counts = {name: examined[name] for name in (
        "sums", "versions", "accounts", "sides", "children", "open_holds", "groups", "keys",
        "journal", "details", "authorizations", "step_up", "signatures",
    )}  # fmt: skip
    assert counts == {
        "sums": 1, "versions": 19, "accounts": 3, "sides": 11, "children": 4, "open_holds": 2,
        "groups": 1, "keys": 14, "journal": 15, "details": 3, "authorizations": 1,
        "step_up": 6, "signatures": 1,
    }  # fmt: skip
    assert report.position.journal_id == 105
    assert report.transfers == 11


class Damage(NamedTuple):
    """What was done, the rules that must find it, and what of it the first must name."""

    sql: Sequence[str]
    rules: set[str]
    names: dict[str, object]


def transfer(id_: int, change: str) -> str:
    return f"UPDATE ledger.transfers SET {change} WHERE id = {id_}"


def account(id_: int, change: str) -> str:
    return f"UPDATE ledger.accounts SET {change} WHERE id = {id_}"


def limit_change(before: int, after: int, version: int) -> str:
    """The audit of a change of Ada's limit at a version of hers."""
    return (
        "INSERT INTO ledger.audit (id, created_at_us, client, action, subject, before, after)"
        f" VALUES (1, 1, 'c', 'SET_OVERDRAFT_LIMIT', 'account/{ADA}',"
        f" jsonb_build_object('overdraft_limit', {before}),"
        f" jsonb_build_object('overdraft_limit', {after}, 'version', {version}, 'revision', 1))"
    )


def without(table: str, *constraints: str) -> tuple[str, ...]:
    return tuple(f"ALTER TABLE ledger.{table} DROP CONSTRAINT {name}" for name in constraints)


KEY = "UPDATE ledger.idempotency_keys SET {} WHERE key = '{}'"

DAMAGES = {
    "money made from nothing": Damage(
        [account(BOB, "balance = balance + 7")], {"sums", "accounts"},
        {"currency": "EUR", "total": 7},
    ),
    "money moved without a transfer": Damage(
        [account(BOB, "balance = balance + 7"), account(ADA, "balance = balance - 7")],
        {"accounts"}, {"account": ADA, "stored_balance": 518, "balance": 525},
    ),
    "a version ahead": Damage(
        [account(ADA, "version = 9")], {"accounts"},
        {"account": ADA, "stored_version": 9, "version": 8},
    ),
    "a gap in the versions": Damage(
        [transfer(SECOND, "debit_version = 9"), account(ADA, "version = 9")], {"versions"},
        {"account": ADA, "version": 9, "follows": 7, "transfer": SECOND},
    ),
    "a version on both sides": Damage(
        [transfer(CAPTURED, "credit_version = 3")], {"versions"},
        {"account": ADA, "version": 3, "follows": 3, "transfer": CAPTURED},
    ),
    "a wrong running balance": Damage(
        [transfer(PAID, "debit_balance_after = 901")], {"balances"},
        {"account": ADA, "version": 2, "transfer": PAID, "balance_before": 1000,
         "change": -100, "balance_after": 901},
    ),
    "a figure at the edge": Damage(
        [transfer(PAID, f"debit_balance_after = {-(2**63)}")], {"balances", "floors"},
        {"transfer": PAID, "balance_after": -(2**63)},
    ),
    "a changed amount": Damage(
        [transfer(DEPOSITED, "amount = 50")], {"balances", "accounts"}, {"transfer": DEPOSITED},
    ),
    "a wrong amount held": Damage(
        [transfer(HOLD, "debit_held_after = 199")], {"held_after"},
        {"account": BOB, "version": 3, "transfer": HOLD, "held": 200, "held_after": 199},
    ),
    "a hold that set nothing aside": Damage(
        [account(BOB, "held = 0")], {"accounts", "held"}, {"account": BOB, "stored_held": 0},
    ),
    "times against the versions": Damage(
        [transfer(PAID, f"created_at_us = {START_US + 5}")], {"times"},
        {"account": ADA, "transfer": PAID},
    ),
    "a missing transfer": Damage(
        [f"DELETE FROM ledger.transfers WHERE id = {APPROVED}"],
        {"versions", "balances", "accounts", "keys", "journal", "details", "authorizations"},
        {"account": ADA, "version": 4, "follows": 2},
    ),
    "a missing account": Damage(
        [f"DELETE FROM ledger.accounts WHERE id = {CASH}"],
        {"sums", "accounts", "sides", "keys", "journal"}, {"total": 1000},
    ),
    "below the floor": Damage(
        [*without("accounts", "accounts_floor"), account(ADA, "balance = -1")],
        {"sums", "floors", "accounts", "constraints"}, {"currency": "EUR"},
    ),
    "below the floor in the past": Damage(
        [transfer(PAID, "debit_balance_after = -1")], {"balances", "floors"}, {"transfer": PAID},
    ),
    "below the limit of its time": Damage(
        [
            account(BOB, "overdraft_limit = 0"),
            limit_change(0, 9000, 3),
            account(ADA, "overdraft_limit = 9000"),
            transfer(PAID, "debit_balance_after = -1"),
        ],
        {"balances", "floors"}, {"transfer": PAID},
    ),
    "a limit that no audited change made": Damage(
        [
            limit_change(0, 5, 0),
            account(ADA, "overdraft_limit = 6"),
        ],
        {"limits"}, {"account": ADA, "limit_after": 5, "stored_limit": 6},
    ),
    "an account in another currency": Damage(
        [account(CASH, "currency = 'JPY'")], {"sums", "sides"}, {"currency": "EUR"},
    ),
    "the wrong kind between customers": Damage(
        [transfer(FIRST, "kind = 'WITHDRAWAL'")], {"sides"},
        {"transfer": FIRST, "kind": "WITHDRAWAL"},
    ),
    "a capture that nothing was held for": Damage(
        [*without("transfers", "transfers_child"), transfer(REFUNDED, "parent_id = NULL")],
        {"sides", "constraints"}, {"transfer": REFUNDED},
    ),
    "a child of nothing": Damage(
        [transfer(REVERSED, "parent_id = 5")], {"children"},
        {"transfer": REVERSED, "parent": 5, "fault": "its parent does not exist"},
    ),
    "a refund of a deposit": Damage(
        [transfer(REFUNDED, f"parent_id = {DEPOSITED}")], {"children"},
        {"transfer": REFUNDED, "fault": "its kind cannot follow its parent's"},
    ),
    "a child between other accounts": Damage(
        [transfer(PAID, f"credit_account = {CASH}")],
        {"versions", "balances", "accounts", "sides", "children"},
        {"account": CASH},
    ),
    "a gap in the sequence": Damage(
        [transfer(RELEASED, "parent_sequence = 3")], {"children"},
        {"transfer": RELEASED, "fault": "its sequence is not the next"},
    ),
    "a remainder that does not follow": Damage(
        [transfer(REFUNDED, "parent_remaining = 61")], {"children"},
        {"transfer": REFUNDED, "fault": "what it leaves does not follow"},
    ),
    "a state that does not fit": Damage(
        [transfer(REFUNDED, "parent_state = 'REFUNDED'")], {"children"},
        {"transfer": REFUNDED, "fault": "the state does not fit"},
    ),
    "a release that expired nothing": Damage(
        [transfer(RELEASED, "parent_state = 'EXPIRED'")], {"children"},
        {"transfer": RELEASED, "fault": "the state does not fit"},
    ),
    "a capture after the deadline": Damage(
        [transfer(HOLD, f"expires_at_us = {START_US + CAPTURED}")], {"children"},
        {"transfer": CAPTURED, "fault": "it captures after the deadline"},
    ),
    "half a reversal": Damage(
        [transfer(REVERSED, "parent_remaining = 10")], {"children"},
        {"transfer": REVERSED, "fault": "what it leaves does not follow"},
    ),
    "a hold that was forgotten": Damage(
        [f"DELETE FROM ledger.open_holds WHERE id = {SPARE_HOLD}"], {"open_holds", "held"},
        {"hold": SPARE_HOLD, "remaining": 30, "open_remaining": None},
    ),
    "a hold that was over": Damage(
        [f"INSERT INTO ledger.open_holds VALUES ({HOLD}, {BOB}, 5, 0)"], {"open_holds", "held"},
        {"hold": HOLD, "remaining": None, "open_remaining": 5},
    ),
    "a hold with a later deadline": Damage(
        [f"UPDATE ledger.open_holds SET expires_at_us = 9 WHERE id = {SPARE_HOLD}"],
        {"open_holds"}, {"hold": SPARE_HOLD},
    ),
    "a transfer put out of its group": Damage(
        [transfer(FIRST, "group_id = NULL")], {"groups", "keys"},
        {"group_id": GROUP, "transfer": FIRST, "named": None},
    ),
    "a transfer put into a group": Damage(
        [transfer(PAID, f"group_id = {GROUP}")], {"groups", "keys"},
        {"group_id": GROUP, "transfer": PAID},
    ),
    "a missing group": Damage(
        ["DELETE FROM ledger.transfer_groups"], {"groups", "keys"}, {"group_id": GROUP},
    ),
    "a group's key of another row": Damage(
        [KEY.format("journal_id = 101", "group")], {"positions"}, {"id": GROUP},
    ),
    "a key without its transfer": Damage(
        ["INSERT INTO ledger.idempotency_keys"
         " (client, key, outcome, outcome_id, journal_id, request_hash)"
         " VALUES ('app', 'ghost', 'TRANSFER', 77, 102, '')"],
        {"keys", "positions"}, {"id": 77},
    ),
    "a transfer without its key": Damage(
        [f"DELETE FROM ledger.idempotency_keys WHERE key = 'pay-{PAID}'"], {"keys"},
        {"id": PAID, "outcomes": 1, "keys": 0},
    ),
    "two keys for one transfer": Damage(
        ["INSERT INTO ledger.idempotency_keys"
         " (client, key, outcome, outcome_id, journal_id, journal_xid, request_hash)"
         " SELECT client, 'again', outcome, outcome_id, journal_id, journal_xid, request_hash"
         f" FROM ledger.idempotency_keys WHERE key = 'pay-{PAID}'"],
        {"keys"}, {"id": PAID, "keys": 2},
    ),
    "a key of another client": Damage(
        [KEY.format("client = 'thief'", f"pay-{DECLINED}")], {"keys"},
        {"id": DECLINED, "stranger": True},
    ),
    "an account without its key": Damage(
        [f"DELETE FROM ledger.idempotency_keys WHERE key = 'open-{BOB}'"], {"keys"},
        {"id": BOB, "keys": 0},
    ),
    "a missing journal row": Damage(
        ["DELETE FROM ledger.journal WHERE id = 102"], {"journal", "positions"},
        {"id": APPROVED, "outcomes": 1, "journal_rows": 0},
    ),
    "an outcome journalled twice": Damage(
        ["INSERT INTO ledger.journal (id, created_at_us, declines)"
         f" VALUES (103, 1, '{{{DECLINED}}}')"],
        {"journal", "positions"}, {"id": DECLINED, "journal_rows": 2},
    ),
    "a key with the position of another row": Damage(
        [KEY.format("journal_id = 101", f"pay-{APPROVED}")], {"positions"}, {"id": APPROVED},
    ),
    "personal data of nothing": Damage(
        ["INSERT INTO ledger.transfer_details (id) VALUES (55)"], {"details"},
        {"id": 55, "fault": "it belongs to nothing that has its hash"},
    ),
    "personal data that the transfer does not know": Damage(
        [transfer(PAID, "details_hash = NULL")], {"details"},
        {"id": PAID, "fault": "it belongs to nothing that has its hash"},
    ),
    "personal data that is gone": Damage(
        [f"DELETE FROM ledger.transfer_details WHERE id = {PAID}"], {"details"},
        {"id": PAID, "fault": "it is gone, which no erasure does"},
    ),
    "a tombstone for which nobody asked": Damage(
        ["INSERT INTO ledger.erased_keys (data_key, erased_at_us) VALUES (5, 1)"], {"erasures"},
        {"tombstones": 1, "audited": 0},
    ),
    "an authorized transfer without its authorization": Damage(
        [f"DELETE FROM ledger.authorizations WHERE id = {AUTHORIZATION}"], {"authorizations"},
        {"transfer": APPROVED},
    ),
    "a payment that nobody let through": Damage(
        [transfer(PAID, "step_up = 'NOT_APPLICABLE'")], {"step_up"},
        {"transfer": PAID, "kind": "TRANSFER", "step_up": "NOT_APPLICABLE"},
    ),
    "a deposit that the payer is said to have paid": Damage(
        [transfer(DEPOSITED, "step_up = 'BELOW_THRESHOLD'")], {"step_up"},
        {"transfer": DEPOSITED, "kind": "DEPOSIT"},
    ),
    "an authorization of a part of a group": Damage(
        [f"UPDATE ledger.authorizations SET transfer_id = NULL, group_id = {GROUP}, payer = {ADA}"],
        {"authorizations", "signatures"}, {"transfer": APPROVED, "authorization_id": AUTHORIZATION},
    ),
    "an authorization of another user": Damage(
        [account(ADA, "owner = 'eve'")], {"authorizations"},
        {"transfer": APPROVED, "stranger": True},
    ),
    "an authorization for another payment": Damage(
        ["UPDATE ledger.authorizations SET digest = sha256('other')"], {"signatures"},
        {"transfer": APPROVED, "fault": "the digest is that of another payment"},
    ),
    "a forged signature": Damage(
        ["UPDATE ledger.authorizations SET signature = sha512('other')"], {"signatures"},
        {"fault": "the signature is not genuine"},
    ),
    "an authorization that lasts longer": Damage(
        ["UPDATE ledger.authorizations SET expires_at_us = expires_at_us + 1"], {"signatures"},
        {"fault": "the signature is not genuine"},
    ),
    "a key that nobody has": Damage(
        ["UPDATE ledger.authorizations SET key_id = 'sign-9'"], {"signatures"},
        {"fault": "the signing service has no key sign-9"},
    ),
    "another table of legal children": Damage(
        ["INSERT INTO ledger.legal_children VALUES ('DEPOSIT', 'REFUND')"], {"legal_children"},
        {"parent": "DEPOSIT", "child": "REFUND"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found_and_named(ledger: SmallLedger, name: str) -> None:
    damage = DAMAGES[name]
    await ledger.tamper(*damage.sql)
    failed = await broken(ledger)
    assert set(failed) == damage.rules
    first = next(iter(failed.values())).first_violation
    assert first is not None
    assert {figure: first.get(figure) for figure in damage.names} == damage.names


@pytest.mark.parametrize("state", ["RELEASED", "EXPIRED"])
async def test_a_release_past_the_deadline_may_be_an_expiry_or_not(
    ledger: SmallLedger, state: str
) -> None:
    await ledger.tamper(
        transfer(HOLD, f"expires_at_us = {START_US + RELEASED}"),
        transfer(RELEASED, f"parent_state = '{state}'"),
    )
    assert await broken(ledger) == {}


async def test_what_follows_a_final_state_is_found(ledger: SmallLedger) -> None:
    await ledger.tamper(
        transfer(CAPTURED, "parent_state = 'CAPTURED', parent_remaining = 0, released = 150")
    )
    first = (await broken(ledger))["children"].first_violation
    assert first is not None
    assert (first["transfer"], first["fault"]) == (RELEASED, "it follows a final state")


DDL: dict[str, tuple[str, str, dict[str, object]]] = {
    "a trigger turned off": (
        "ALTER TABLE ledger.journal DISABLE TRIGGER append_only", "triggers",
        {"table": "journal", "trigger": "append_only", "fault": "it does not always fire"},
    ),
    "a trigger that replication passes by": (
        "ALTER TABLE ledger.accounts ENABLE TRIGGER only_by_transfers", "triggers",
        {"table": "accounts", "trigger": "only_by_transfers"},
    ),
    "a trigger dropped from a partition": (
        "DROP TRIGGER apply_transfers ON ledger.transfers_first", "triggers",
        {"table": "transfers_first", "fault": "it is gone"},
    ),
    "a trigger that never means it": (
        "DROP TRIGGER born_at_zero ON ledger.accounts;"
        "CREATE TRIGGER born_at_zero BEFORE INSERT ON ledger.accounts FOR EACH ROW WHEN (false)"
        " EXECUTE FUNCTION ledger.refuse_change();"
        "ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER born_at_zero", "triggers",
        {"table": "accounts", "trigger": "born_at_zero", "fault": "it is defined anew"},
    ),
    "a function that lets everything pass": (
        "CREATE OR REPLACE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql"
        " SET search_path = '' AS $$ BEGIN RETURN NULL; END $$", "functions",
        {"function": "refuse_change", "gone": False},
    ),
    "a constraint dropped": (
        "ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_closed_empty", "constraints",
        {"table": "accounts", "constraint": "accounts_closed_empty", "gone": True},
    ),
    "a right to rewrite": (
        "GRANT UPDATE ON ledger.journal TO paycore_command", "rights",
        {"role": "paycore_command", "privilege": "UPDATE", "table": "journal"},
    ),
    "a right to write balances": (
        "GRANT UPDATE (balance) ON ledger.accounts TO paycore_command", "rights",
        {"role": "paycore_command", "privilege": "UPDATE", "table": "accounts",
         "column": "balance"},
    ),
    "a right for everyone": (
        "GRANT SELECT ON ledger.declines TO PUBLIC", "rights",
        {"role": "PUBLIC", "privilege": "SELECT", "table": "declines"},
    ),
    "a right on a partition": (
        "GRANT INSERT ON ledger.transfers_first TO paycore_query", "rights",
        {"role": "paycore_query", "privilege": "INSERT", "table": "transfers_first"},
    ),
    "an index that keeps entries unique": (
        "DROP INDEX ledger.transfers_first_credit_entry", "partitions",
        {"partition": "transfers_first",
         "fault": "it does not keep credit_account, credit_version unique"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DDL)
async def test_what_an_owner_does_by_ddl_is_found(ledger: SmallLedger, name: str) -> None:
    sql, rule, names = DDL[name]
    await ledger.run(sql)
    failed = await broken(ledger)
    assert set(failed) == {rule}
    first = failed[rule].first_violation
    assert first is not None
    assert {figure: first.get(figure) for figure in names} == names


async def test_a_detached_partition_is_found(ledger: SmallLedger) -> None:
    await ledger.run("ALTER TABLE ledger.transfers DETACH PARTITION ledger.transfers_first")
    failed = await broken(ledger)
    assert {"partitions", "accounts", "keys", "journal"} <= set(failed)
    assert failed["partitions"].violations == 2
    assert failed["accounts"].violations == 3


async def test_a_renamed_detached_partition_is_found(ledger: SmallLedger) -> None:
    await ledger.run("ALTER TABLE ledger.transfers DETACH PARTITION ledger.transfers_first")
    await ledger.run("ALTER TABLE ledger.transfers_first RENAME TO notes")
    faults = (await broken(ledger))["partitions"].first_violation
    assert faults == {"partition": "notes", "fault": "it holds transfers apart from the whole"}


async def test_one_version_in_two_partitions_is_found(ledger: SmallLedger) -> None:
    later = "(SELECT ledger.first_transfer_id(now() + interval '3 months'))"
    await ledger.tamper(
        "INSERT INTO ledger.transfers SELECT (jsonb_populate_record(one,"
        f" jsonb_build_object('id', {later}, 'credit_version', 11))).*"
        f" FROM ledger.transfers AS one WHERE id = {SECOND}",
    )
    failed = await broken(ledger)
    assert failed["versions"].first_violation == {
        "account": ADA, "version": 8, "follows": 8,
        "transfer": (failed["versions"].first_violation or {})["transfer"],
    }  # fmt: skip


async def test_a_key_used_twice_is_found_where_no_index_forbids_it(ledger: SmallLedger) -> None:
    await ledger.tamper(
        "DROP INDEX ledger.idempotency_keys_once",
        KEY.format(f"key = 'pay-{PAID}'", f"pay-{DECLINED}"),
    )
    failed = await broken(ledger)
    assert set(failed) == {"keys", "constraints"}
    assert failed["keys"].first_violation == {
        "client": "app", "key": f"pay-{PAID}", "keys": 2, "id": PAID,
    }  # fmt: skip


async def test_an_account_changed_may_be_journalled_again(ledger: SmallLedger) -> None:
    await ledger.tamper(account(BOB, "revision = 1"))
    await ledger.run(
        f"INSERT INTO ledger.journal (id, created_at_us, accounts) VALUES (106, 1, '{{{BOB}}}')"
    )
    assert await broken(ledger) == {}


async def test_a_lower_limit_does_not_condemn_what_an_earlier_one_allowed(
    ledger: SmallLedger,
) -> None:
    await ledger.tamper(
        account(ADA, "overdraft_limit = 2000"),
    )
    await ledger.pay_more(50, 106, (8, 10))
    await ledger.tamper(
        limit_change(2000, 0, 9),
        account(ADA, "overdraft_limit = 0"),
        transfer(PAID, "debit_balance_after = -1900"),
    )
    # The balance is wrong, but not below what was allowed then.
    assert set(await broken(ledger)) == {"balances"}
