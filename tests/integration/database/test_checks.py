"""The tables refuse what the application must never write, each rule by itself.

As the superuser and with the triggers off that keep everyone from writing balances, so that only
the constraint stands in the way.
"""

from __future__ import annotations

import asyncpg
import pytest

from tests.integration.database.conftest import Connect, Posted

TRANSFER = (
    "INSERT INTO ledger.transfers (id, debit_account, credit_account, amount, debit_version,"
    " credit_version, debit_balance_after, credit_balance_after, debit_held_after, created_at_us,"
    " kind, step_up, currency, client, authorization_id, parent_id, expires_at_us)"
    " VALUES ({id}, {debit}, {credit}, {amount}, {debit_version}, {credit_version}, 0,"
    " {credit_balance}, 0, 1, '{kind}', '{step_up}', 'EUR', 'c', {authorization}, {parent},"
    " {expires})"
)


def transfer(**changes: object) -> str:
    values: dict[str, object] = {
        "id": 7,
        "credit_balance": 0,
        "debit": "{a}",
        "credit": "{b}",
        "amount": 1,
        "debit_version": 90,
        "credit_version": 90,
        "step_up": "BELOW_THRESHOLD",
        "authorization": "NULL",
        "kind": "TRANSFER",
        "parent": "NULL",
        "expires": "NULL",
    }
    return TRANSFER.format(**{**values, **changes})


def account(column: str, value: str) -> str:
    return f"UPDATE ledger.accounts SET {column} = {value} WHERE id = {{a}}"


def opening(column: str, value: str) -> str:
    """Another account, with one column as it must not be."""
    changes = f"jsonb_build_object('id', 7, '{column}', {value})"
    return (
        f"INSERT INTO ledger.accounts SELECT (jsonb_populate_record(one, {changes})).*"
        " FROM ledger.accounts AS one WHERE id = {a}"
    )


def limit(**changes: str) -> str:
    """A limit that could be, but for what is changed."""
    values = {
        "client": "'app'",
        "method": "''",
        "name": "'device'",
        "switched_off": "false",
        "per_s": "1",
        "burst": "1",
        "window_s": "NULL",
        "payees": "NULL",
        "identifiers": "NULL",
        **changes,
    }
    return f"INSERT INTO ledger.limits ({', '.join(values)}) VALUES ({', '.join(values.values())})"


CHECKS = {
    "accounts_floor": account("balance", "-1"),
    "accounts_held_not_negative": account("held", "-1"),
    "accounts_limit_not_negative": account("overdraft_limit", "-1"),
    "accounts_version_not_negative": account("version", "-1"),
    "accounts_currency_code": opening("currency", "'eur'"),
    "accounts_closed_empty": account("status", "'CLOSED'"),
    "accounts_names_bounded": opening("owner", "''"),
    "accounts_pkey": "INSERT INTO ledger.accounts SELECT * FROM ledger.accounts",
    "transfers_amount_positive": transfer(amount=0),
    "transfers_two_accounts": transfer(credit="{a}"),
    "transfers_versions_positive": transfer(debit_version=0),
    "transfers_authorized": transfer(step_up="AUTHORIZED"),
    "transfers_first_debit_entry": transfer(debit_version=2),
    "transfers_first_credit_entry": transfer(credit_version=2),
    "transfers_legs": transfer(credit_version="NULL"),
    "transfers_child": transfer(parent=1),
    "transfers_deadline": transfer(
        kind="HOLD", credit_version="NULL", credit_balance="NULL", expires=1
    ),
    "transfers_extras": transfer(expires=2),
    "transfer_groups_size": "INSERT INTO ledger.transfer_groups VALUES (1, 1, 'c', '{{}}')",
    "transfer_details_plain_or_sealed": "INSERT INTO ledger.transfer_details (id, owner_key)"
    " VALUES (1, 1)",
    "open_holds_remaining_check": "INSERT INTO ledger.open_holds (id, account, remaining)"
    " VALUES (1, 1, 0)",
    "declines_amount_check": "INSERT INTO ledger.declines (id, debit_account, credit_account,"
    " amount, created_at_us, kind, currency, client, reason, figures)"
    " VALUES (7, 1, 2, 0, 1, 'TRANSFER', 'EUR', 'c', 'r', '{{}}')",
    "idempotency_keys_once": "INSERT INTO ledger.idempotency_keys"
    " SELECT * FROM ledger.idempotency_keys",
    "idempotency_keys_key_check": "INSERT INTO ledger.idempotency_keys (client, key, journal_id,"
    " outcome_id, outcome, request_hash) VALUES ('c', '', 1, 1, 'TRANSFER', '')",
    "idempotency_keys_client_check": "INSERT INTO ledger.idempotency_keys (client, key,"
    " journal_id, outcome_id, outcome, request_hash) VALUES ('', 'k', 1, 1, 'TRANSFER', '')",
    "authorizations_digest_check": "INSERT INTO ledger.authorizations VALUES"
    " (1, 1, 1, 1, 1, 'u', 'PIN', 'c', 'k', 'key', '\\x00', decode(repeat('00', 64), 'hex'))",
    "authorizations_signature_check": "INSERT INTO ledger.authorizations VALUES"
    " (1, 1, 1, 1, 1, 'u', 'PIN', 'c', 'k', 'key', decode(repeat('00', 32), 'hex'), '\\x00')",
    "grants_institution_named": "INSERT INTO ledger.grants VALUES ('c', 'READ', 'OWN', 'bank')",
    "step_up_policies_threshold_check": "INSERT INTO ledger.step_up_policies VALUES ('CHF', -1)",
    "step_up_policies_currency_check": "INSERT INTO ledger.step_up_policies VALUES ('chf', 1)",
    "scheme_grants_scheme": "INSERT INTO ledger.scheme_grants VALUES ('c', 'Stripe')",
    "step_up_policies_daily_total_check": "INSERT INTO ledger.step_up_policies"
    " VALUES ('CHF', 1, NULL, -1)",
    "step_up_policies_first_is_lower": "INSERT INTO ledger.step_up_policies VALUES ('CHF', 1, 2)",
    "authorizations_of_one": "INSERT INTO ledger.authorizations VALUES (1, NULL, 1, 1, 1, 'u',"
    " 'PIN', 'c', 'k', 'key', decode(repeat('00', 32), 'hex'), decode(repeat('00', 64), 'hex'))",
    "authorizations_of_payer": "INSERT INTO ledger.authorizations SELECT one, NULL, 1, 1, 1, 'u',"
    " 'PIN', 'c', 'k', 'key', decode(repeat('00', 32), 'hex'), decode(repeat('00', 64), 'hex'),"
    " 5, 6 FROM (VALUES (1), (2)) AS two (one)",
    "external_identifiers_bounded": "INSERT INTO ledger.external_identifiers"
    " VALUES ({a}, 1, 'Stripe', 'cus_1')",
    "external_identifiers_account_fkey": "INSERT INTO ledger.external_identifiers"
    " VALUES (7, 1, 'stripe', 'cus_1')",
    "external_identifiers_pkey": "INSERT INTO ledger.external_identifiers"
    " VALUES ({a}, 1, 'stripe', 'cus_1'), ({b}, 1, 'stripe', 'cus_1')",
    "external_identifiers_one_of_each": "INSERT INTO ledger.external_identifiers"
    " VALUES ({a}, 1, 'stripe', 'cus_1'), ({a}, 1, 'stripe', 'cus_2')",
    "account_details_metadata_check": "INSERT INTO ledger.account_details VALUES ({a}, '[]')",
    "limits_client_bounded": limit(client="repeat('x', 129)"),
    "limits_name_known": limit(name="'devices'"),
    "limits_method_of_client": limit(client="''", method="'p.S/M'"),
    "limits_one_setting": limit(burst="NULL"),
    "limits_rate_bounded": limit(per_s="0"),
    "limits_velocity_bounded": limit(
        name="'velocity'", per_s="NULL", burst="NULL", window_s="86401", payees="1", identifiers="1"
    ),
    "limits_pkey": limit() + ", " + limit().partition("VALUES ")[2],
    "risk_rules_currency_code": "INSERT INTO ledger.risk_rules (currency) VALUES ('eur')",
    "risk_rules_not_negative": "INSERT INTO ledger.risk_rules (currency, daily_limit)"
    " VALUES ('CHF', -1)",
    "risk_rules_decisions": "INSERT INTO ledger.risk_rules (currency, daily_decision)"
    " VALUES ('CHF', 'APPROVE')",
    "verifications_checks_check": "INSERT INTO ledger.verifications"
    " (epoch, xid, journal_id, snapshot, checks) VALUES (1, '1', 1, '1:1:', '[]')",
    "device_touches_kind": "INSERT INTO ledger.device_touches"
    " VALUES (decode(repeat('00', 16), 'hex'), 'PAYER', decode(repeat('00', 16), 'hex'), 1)",
    "device_touches_hashes": "INSERT INTO ledger.device_touches"
    " VALUES ('\\x00', 'PAYEE', decode(repeat('00', 16), 'hex'), 1)",
    "epoch_epoch_check": "UPDATE ledger.epoch SET epoch = 0",
    "epoch_pkey": "INSERT INTO ledger.epoch VALUES (true, 2)",
    "id_leases_instance_check": "INSERT INTO ledger.id_leases"
    " VALUES (1024, gen_random_uuid(), now())",
}
"""Constraint, and a statement that only it stands against."""


def audited(**changes: str) -> str:
    """An audit row that could be, but for what is changed."""
    values = {"id": "7", "created_at_us": "1", "client": "'c'", "action": "'x'", "subject": "'y'"}
    return _insert("audit", values | changes)


def seal(**changes: str) -> str:
    """A seal that could be the first, but for what is changed."""
    values = {
        "number": "1",
        "epoch": "1",
        "first_xid": "'5'",
        "first_id": "1",
        "last_xid": "'5'",
        "last_id": "1",
        "journal_rows": "1",
        "sealed_at_us": "1",
        "previous": NOTHING,
        "digests": HASH,
        "hash": HASH,
    }
    return _insert("seals", values | changes)


def _insert(table: str, values: dict[str, str]) -> str:
    return f"INSERT INTO ledger.{table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"


HASH = "decode(repeat('ab', 32), 'hex')"
NOTHING = "decode(repeat('00', 32), 'hex')"
SHORT = "decode(repeat('00', 31), 'hex')"

OF_AUDIT = {
    "audit_device_hint_check": audited(device_hint="'12G4'"),
    "audit_address_hint_check": audited(address_hint="'12345'"),
    "audit_sealed_check": audited(sealed="'short'", actor_key="1", traced_us="1"),
    "audit_sealed_under_a_key": audited(actor_key="1"),
}

OF_SEALS = {
    "seals_number_check": seal(number="0"),
    "seals_epoch_check": seal(epoch="0"),
    "seals_journal_rows_check": seal(journal_rows="0", digests="''"),
    "seals_previous_check": seal(previous=SHORT, number="2"),
    "seals_hash_check": seal(hash=SHORT),
    "seals_digest_a_row": seal(journal_rows="2"),
    "seals_in_order": seal(last_id="0"),
    "seals_begin": seal(previous=HASH),
    "seals_once": f"{seal()}; {seal()}",
    "seals_follow": seal(number="2", previous=HASH),
}

TAKEN = {"seals_once": ("seals_pkey",)}
"""What is broken as well, and told of first."""

VELOCITY = {
    "per_s": "NULL",
    "burst": "NULL",
    "window_s": "86400",
    "payees": "1",
    "identifiers": "1",
}


@pytest.mark.parametrize("constraint", CHECKS)
async def test_the_table_refuses(on_posted: Connect, posted: Posted, constraint: str) -> None:
    admin = await on_posted("admin")
    _, a, b = posted.accounts
    statement = CHECKS[constraint].format(a=a, b=b)
    await admin.execute("ALTER TABLE ledger.transfers DISABLE TRIGGER apply_transfers")
    for trigger in ("only_by_transfers", "born_at_zero", "immutable"):
        await admin.execute(f"ALTER TABLE ledger.accounts DISABLE TRIGGER {trigger}")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        await admin.execute(statement)
    assert refusal.value.constraint_name == constraint


@pytest.mark.parametrize("constraint", [*OF_AUDIT, *OF_SEALS])
async def test_audit_and_seals_refuse(on_posted: Connect, constraint: str) -> None:
    admin = await on_posted("admin")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        await admin.execute((OF_AUDIT | OF_SEALS)[constraint])
    # A number is taken before the number with its hash is.
    assert refusal.value.constraint_name in (constraint, *TAKEN.get(constraint, ()))


@pytest.mark.parametrize(
    ("constraint", "changes"),
    [
        ("limits_method_of_client", {"method": "'HoldFunds'"}),
        ("limits_method_of_client", {"name": "'velocity'", "method": "'p.S/M'", **VELOCITY}),
        ("limits_one_setting", {"switched_off": "true"}),
        ("limits_one_setting", {"name": "'velocity'"}),
        ("limits_one_setting", {"window_s": "1", "payees": "1", "identifiers": "1"}),
        ("limits_rate_bounded", {"per_s": "'NaN'"}),
        ("limits_rate_bounded", {"per_s": "1e9"}),
        ("limits_rate_bounded", {"per_s": "-1"}),
        ("limits_rate_bounded", {"burst": "0"}),
        ("limits_rate_bounded", {"per_s": "1e8", "burst": "1000000001"}),
        ("limits_rate_bounded", {"per_s": "0.5", "burst": "43201"}),
        ("limits_velocity_bounded", {"name": "'velocity'", **VELOCITY, "payees": "1001"}),
        ("limits_velocity_bounded", {"name": "'velocity'", **VELOCITY, "identifiers": "0"}),
    ],
)
async def test_the_table_of_limits_refuses_what_the_file_refuses(
    on_posted: Connect, constraint: str, changes: dict[str, str]
) -> None:
    admin = await on_posted("admin")
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await admin.execute(limit(**changes))
    assert refusal.value.constraint_name == constraint


async def test_the_table_of_limits_takes_what_is_on_its_edges(on_posted: Connect) -> None:
    admin = await on_posted("admin")
    for changes in (
        {"per_s": "0.5", "burst": "43200"},
        {"client": "''", "switched_off": "true", "per_s": "NULL", "burst": "NULL"},
        {"client": "''", "name": "'velocity'", **VELOCITY, "payees": "1000"},
        {"method": "'paycore.v1.TransferService/HoldFunds'"},
    ):
        await admin.execute(limit(**changes))


async def test_every_check_of_the_ledger_has_a_test(on_posted: Connect) -> None:
    admin = await on_posted("admin")
    rows = await admin.fetch(
        "SELECT conname FROM pg_constraint WHERE connamespace = 'ledger'::regnamespace"
        " AND contype IN ('c', 'u')"
    )
    tested = (
        CHECKS.keys()
        | OF_AUDIT.keys()
        | OF_SEALS.keys()
        | {
            # The same rule for another column, or a key like those above.
            "authorizations_transfer_id_key",
            "epoch_only_row_check",
        }
    )
    assert {row["conname"] for row in rows} - tested == set()


async def test_an_external_account_has_no_floor(on_posted: Connect, posted: Posted) -> None:
    admin = await on_posted("admin")
    outside = posted.accounts[0]
    assert (await admin.fetchval("SELECT balance FROM ledger.accounts WHERE id = $1", outside)) < 0
