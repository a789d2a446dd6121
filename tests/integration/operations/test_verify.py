"""Verification accepts a whole ledger and finds each kind of damage, by its ids."""

from collections.abc import Sequence

import pytest

from operations.verify.report import Check
from tests.integration.operations.small_ledger import (
    ADA,
    APPROVED,
    AUTHORIZATION,
    BOB,
    DECLINED,
    PAID,
    START_US,
    SmallLedger,
)

SUMS = "balances add up to zero per currency"
VERSIONS = "versions are gap-free from 1 across both sides"
BALANCES = "each balance is the one before it plus the change"
TIMES = "each account's times rise with its versions"
ACCOUNTS = "stored accounts equal what their transfers make them"
FLOORS = "no customer's account is or was below its floor"
HOLDS = "nothing is held without a hold"
SIDES = "payer and payee fit the transfer's kind and currency"
KEYS = "keys and outcomes belong together one to one"
JOURNAL = "the journal lists each outcome once and nothing else"
POSITIONS = "each key's position is that of its journal row"
DETAILS = "personal data belongs to a transfer or decline"
AUTHORIZATIONS = "authorized transfers have the payer's authorization"
SIGNATURES = "authorizations are genuine and of their payment"


async def broken(ledger: SmallLedger, *rules: str) -> Sequence[Check]:
    """The checks that failed, which must be exactly `rules`."""
    report = await ledger.verify()
    failed = [check for check in report.checks if not check.held]
    assert {check.rule for check in failed} == set(rules)
    assert not report.held
    return [report.check(rule) for rule in rules]


async def test_a_whole_ledger_passes_and_says_what_was_examined(ledger: SmallLedger) -> None:
    report = await ledger.verify()
    assert [check for check in report.checks if not check.held] == []
    examined = {check.rule: check.examined for check in report.checks}
    assert examined[SUMS] == 1
    assert examined[VERSIONS] == 6
    assert examined[ACCOUNTS] == 3
    assert examined[KEYS] == 7
    assert examined[JOURNAL] == 3
    assert examined[SIGNATURES] == 1
    assert [(total.state, total.items, total.total) for total in report.totals] == [
        ("FAILED", 1, 900),
        ("POSTED", 3, 1500),
    ]
    assert report.position.journal_id == 102


async def test_an_empty_ledger_passes(ledger: SmallLedger) -> None:
    for table in (
        "accounts", "transfers", "declines", "transfer_details", "authorizations",
        "idempotency_keys", "journal",
    ):  # fmt: skip
        await ledger.run(f"TRUNCATE ledger.{table}")
    assert (await ledger.verify()).held


async def test_money_made_from_nothing(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.accounts SET balance = balance + 7 WHERE id = $1", BOB)
    sums, accounts = await broken(ledger, SUMS, ACCOUNTS)
    assert sums.first_violation == {"currency": "EUR", "accounts": 3, "total": 7}
    assert accounts.first_violation is not None
    assert accounts.first_violation["account"] == BOB
    assert accounts.first_violation["stored_balance"] == 507
    assert accounts.first_violation["balance"] == 500


async def test_money_moved_without_a_transfer(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.accounts SET balance = balance + 7 WHERE id = $1", BOB)
    await ledger.run("UPDATE ledger.accounts SET balance = balance - 7 WHERE id = $1", ADA)
    [accounts] = await broken(ledger, ACCOUNTS)
    assert accounts.violations == 2


async def test_one_side_of_a_transfer_not_applied(ledger: SmallLedger) -> None:
    await ledger.run(
        "UPDATE ledger.accounts SET balance = 100, version = 1, last_entry_us = $2 WHERE id = $1",
        BOB,
        START_US + PAID,
    )
    sums, accounts = await broken(ledger, SUMS, ACCOUNTS)
    assert sums.first_violation is not None
    assert sums.first_violation["total"] == -400
    assert accounts.first_violation is not None
    assert accounts.first_violation["stored_version"] == 1
    assert accounts.first_violation["version"] == 2


async def test_a_gap_in_the_versions(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.transfers SET debit_version = 4 WHERE id = $1", APPROVED)
    await ledger.run("UPDATE ledger.accounts SET version = 4 WHERE id = $1", ADA)
    [versions] = await broken(ledger, VERSIONS)
    assert versions.first_violation == {
        "account": ADA, "version": 4, "follows": 2, "transfer": APPROVED,
    }  # fmt: skip


async def test_a_version_used_on_both_sides(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.transfers SET debit_version = 1 WHERE id = $1", PAID)
    failed = {check.rule for check in (await ledger.verify()).checks if not check.held}
    assert VERSIONS in failed


async def test_a_wrong_running_balance(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.transfers SET debit_balance_after = 901 WHERE id = $1", PAID)
    [balances] = await broken(ledger, BALANCES)
    assert balances.violations == 2
    assert balances.first_violation == {
        "account": ADA, "version": 2, "transfer": PAID,
        "balance_before": 1000, "change": -100, "balance_after": 901,
    }  # fmt: skip


async def test_figures_at_the_edge_of_int64_do_not_stop_the_check(ledger: SmallLedger) -> None:
    await ledger.run(
        "UPDATE ledger.transfers SET debit_balance_after = $2 WHERE id = $1", PAID, -(2**63)
    )
    balances, _ = await broken(ledger, BALANCES, FLOORS)
    assert balances.first_violation is not None
    assert balances.first_violation["balance_after"] == -(2**63)


async def test_a_changed_amount(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.transfers SET amount = 50 WHERE id = $1", PAID)
    balances, accounts = await broken(ledger, BALANCES, ACCOUNTS)
    assert balances.first_violation is not None
    assert balances.first_violation["transfer"] == PAID
    assert accounts.violations == 2


async def test_times_against_the_versions(ledger: SmallLedger) -> None:
    await ledger.run(
        "UPDATE ledger.transfers SET created_at_us = $2 WHERE id = $1", PAID, START_US + 5
    )
    [times] = await broken(ledger, TIMES)
    assert times.first_violation is not None
    assert times.first_violation["account"] == ADA
    assert times.first_violation["transfer"] == PAID


async def test_a_missing_transfer(ledger: SmallLedger) -> None:
    await ledger.run("DELETE FROM ledger.transfers WHERE id = $1", PAID)
    versions, *_, keys, journal, details = await broken(
        ledger, VERSIONS, BALANCES, ACCOUNTS, KEYS, JOURNAL, DETAILS
    )
    assert versions.first_violation == {
        "account": ADA, "version": 3, "follows": 1, "transfer": APPROVED,
    }  # fmt: skip
    assert keys.first_violation is not None
    assert keys.first_violation["id"] == PAID
    assert journal.first_violation == {
        "id": PAID, "outcome": "TRANSFER", "outcomes": 0, "journal_rows": 1,
    }  # fmt: skip
    assert details.first_violation == {"id": PAID, "orphaned": True}


async def test_a_missing_account(ledger: SmallLedger) -> None:
    await ledger.run("DELETE FROM ledger.accounts WHERE id = $1", BOB)
    failed = await broken(ledger, SUMS, ACCOUNTS, SIDES, KEYS, JOURNAL)
    accounts, sides = failed[1], failed[2]
    assert accounts.first_violation is not None
    assert accounts.first_violation["account"] == BOB
    assert accounts.first_violation["missing"] is True
    assert sides.first_violation is not None
    assert sides.first_violation["transfer"] == PAID


async def test_a_customer_below_the_floor(ledger: SmallLedger) -> None:
    await ledger.allow("accounts", "accounts_floor")
    await ledger.run("UPDATE ledger.accounts SET balance = -1 WHERE id = $1", ADA)
    _, _, floors = await broken(ledger, SUMS, ACCOUNTS, FLOORS)
    assert floors.first_violation is not None
    assert floors.first_violation["account"] == ADA


async def test_a_customer_below_the_floor_in_the_past(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.transfers SET debit_balance_after = -1 WHERE id = $1", PAID)
    _, floors = await broken(ledger, BALANCES, FLOORS)
    assert floors.first_violation is not None
    assert floors.first_violation["version"] == 2


async def test_funds_held_by_nothing(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.accounts SET held = 5 WHERE id = $1", ADA)
    [holds] = await broken(ledger, HOLDS)
    assert holds.first_violation == {"account": ADA, "held": 5, "transfer": None}


async def test_an_account_in_another_currency(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.accounts SET currency = 'JPY' WHERE id = $1", BOB)
    _, sides = await broken(ledger, SUMS, SIDES)
    assert sides.violations == 2
    assert sides.first_violation is not None
    assert sides.first_violation["credit_currency"] == "JPY"


async def test_a_transfer_between_the_wrong_kinds(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.transfers SET kind = 'WITHDRAWAL' WHERE id = $1", PAID)
    [sides] = await broken(ledger, SIDES)
    assert sides.first_violation is not None
    assert sides.first_violation["kind"] == "WITHDRAWAL"


async def test_a_key_without_its_transfer(ledger: SmallLedger) -> None:
    await ledger.run(
        "INSERT INTO ledger.idempotency_keys"
        " (client, key, outcome, outcome_id, journal_id, request_hash)"
        " VALUES ('app', 'ghost', 'TRANSFER', 77, 102, '')"
    )
    keys, positions = await broken(ledger, KEYS, POSITIONS)
    assert keys.first_violation is not None
    assert keys.first_violation["id"] == 77
    assert positions.first_violation is not None
    assert positions.first_violation["key"] == "ghost"


async def test_a_transfer_without_its_key(ledger: SmallLedger) -> None:
    await ledger.run("DELETE FROM ledger.idempotency_keys WHERE key = $1", f"pay-{PAID}")
    [keys] = await broken(ledger, KEYS)
    assert keys.first_violation == {
        "id": PAID, "outcome": "TRANSFER", "client": "app", "outcomes": 1, "keys": 0,
    }  # fmt: skip


async def test_two_keys_for_one_transfer(ledger: SmallLedger) -> None:
    await ledger.run(
        "INSERT INTO ledger.idempotency_keys"
        " (client, key, outcome, outcome_id, journal_id, journal_xid, request_hash)"
        " SELECT client, 'again', outcome, outcome_id, journal_id, journal_xid, request_hash"
        " FROM ledger.idempotency_keys WHERE key = $1",
        f"pay-{PAID}",
    )
    [keys] = await broken(ledger, KEYS)
    assert keys.first_violation is not None
    assert keys.first_violation["keys"] == 2


async def test_a_key_of_another_client(ledger: SmallLedger) -> None:
    await ledger.run(
        "UPDATE ledger.idempotency_keys SET client = 'thief' WHERE key = $1", f"pay-{DECLINED}"
    )
    [keys] = await broken(ledger, KEYS)
    assert keys.violations == 2


async def test_a_missing_journal_row(ledger: SmallLedger) -> None:
    await ledger.run("DELETE FROM ledger.journal WHERE id = 102")
    journal, positions = await broken(ledger, JOURNAL, POSITIONS)
    assert journal.violations == 2
    assert journal.first_violation == {
        "id": APPROVED, "outcome": "TRANSFER", "outcomes": 1, "journal_rows": 0,
    }  # fmt: skip
    assert positions.violations == 2


async def test_an_outcome_journalled_twice(ledger: SmallLedger) -> None:
    await ledger.run(
        "INSERT INTO ledger.journal (id, created_at_us, declines) VALUES (103, $1, $2)",
        START_US,
        [DECLINED],
    )
    [journal] = await broken(ledger, JOURNAL)
    assert journal.first_violation is not None
    assert journal.first_violation["journal_rows"] == 2


async def test_an_account_changed_may_be_journalled_again(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.accounts SET revision = 1 WHERE id = $1", BOB)
    await ledger.run(
        "INSERT INTO ledger.journal (id, created_at_us, accounts) VALUES (103, $1, $2)",
        START_US,
        [BOB],
    )
    assert (await ledger.verify()).held


async def test_a_key_with_the_position_of_another_row(ledger: SmallLedger) -> None:
    await ledger.run(
        "UPDATE ledger.idempotency_keys SET journal_id = 101 WHERE key = $1", f"pay-{APPROVED}"
    )
    [positions] = await broken(ledger, POSITIONS)
    assert positions.first_violation is not None
    assert positions.first_violation["id"] == APPROVED


async def test_personal_data_of_nothing(ledger: SmallLedger) -> None:
    await ledger.run("INSERT INTO ledger.transfer_details (id) VALUES (55)")
    [details] = await broken(ledger, DETAILS)
    assert details.first_violation == {"id": 55, "orphaned": True}


async def test_personal_data_that_the_transfer_does_not_know(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.transfers SET details_hash = NULL WHERE id = $1", PAID)
    [details] = await broken(ledger, DETAILS)
    assert details.first_violation == {"id": PAID, "orphaned": False}


async def test_an_authorized_transfer_without_its_authorization(ledger: SmallLedger) -> None:
    await ledger.run("DELETE FROM ledger.authorizations WHERE id = $1", AUTHORIZATION)
    [authorizations] = await broken(ledger, AUTHORIZATIONS)
    assert authorizations.first_violation is not None
    assert authorizations.first_violation["transfer"] == APPROVED


async def test_an_authorization_of_another_user(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.accounts SET owner = 'eve' WHERE id = $1", ADA)
    [authorizations] = await broken(ledger, AUTHORIZATIONS)
    assert authorizations.first_violation is not None
    assert authorizations.first_violation["stranger"] is True


async def test_an_authorization_that_lets_nothing_through(ledger: SmallLedger) -> None:
    await ledger.allow("transfers", "transfers_authorized")
    await ledger.run("UPDATE ledger.transfers SET authorization_id = NULL WHERE id = $1", APPROVED)
    [authorizations] = await broken(ledger, AUTHORIZATIONS)
    assert authorizations.violations == 2


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("digest = sha256('other')", "the digest is that of another payment"),
        ("signature = sha512('other')", "the signature is not genuine"),
        ("expires_at_us = expires_at_us + 1", "the signature is not genuine"),
        ("key_id = 'sign-9'", "the signing service has no key sign-9"),
    ],
)
async def test_an_authorization_that_is_not_genuine(
    ledger: SmallLedger, change: str, fault: str
) -> None:
    await ledger.run(f"UPDATE ledger.authorizations SET {change}")
    [signatures] = await broken(ledger, SIGNATURES)
    assert signatures.first_violation == {
        "authorization": AUTHORIZATION, "transfer": APPROVED, "fault": fault,
    }  # fmt: skip


async def test_an_authorized_payment_changed_afterwards(ledger: SmallLedger) -> None:
    await ledger.run("UPDATE ledger.transfers SET amount = 399 WHERE id = $1", APPROVED)
    failed = {check.rule for check in (await ledger.verify()).checks if not check.held}
    assert failed == {BALANCES, ACCOUNTS, SIGNATURES}
