"""What must hold of the tables, in plain SQL of its own: the service's code is not asked."""

from __future__ import annotations

from typing import Any

import asyncpg

CHECKS = {
    "the sum of balances is zero in each currency": """
        SELECT currency, sum(balance) FROM ledger.accounts
        GROUP BY currency HAVING sum(balance) <> 0""",
    "no customer is below the floor": """
        SELECT id, balance FROM ledger.accounts
        WHERE kind = 'CUSTOMER' AND balance - held < -overdraft_limit""",
    "no customer ever was below the floor, nor spent what was held": """
        WITH changed AS MATERIALIZED (
          SELECT substr(subject, 9)::bigint AS account, created_at_us,
                 (before ->> 'version')::bigint AS version,
                 (before ->> 'overdraft_limit')::bigint AS then
          FROM ledger.audit WHERE action = 'SET_OVERDRAFT_LIMIT')
        SELECT entry.transfer, entry.balance_after, entry.held_after FROM ledger.entries AS entry
        JOIN ledger.accounts AS account ON account.id = entry.account
        LEFT JOIN LATERAL (
          SELECT changed.then FROM changed
          WHERE changed.account = account.id AND changed.version >= entry.version
          ORDER BY changed.version, created_at_us LIMIT 1) AS limited ON true
        WHERE account.kind = 'CUSTOMER'
          AND entry.balance_after - coalesce(entry.held_after, 0)
            < -coalesce(limited.then, account.overdraft_limit)""",
    "an account's status and limit are what the audit says last": """
        SELECT account.id FROM ledger.accounts AS account
        LEFT JOIN LATERAL (
          SELECT after ->> 'status' AS status FROM ledger.audit
          WHERE action = 'SET_STATUS' AND subject = 'account/' || account.id
          ORDER BY created_at_us DESC LIMIT 1) AS moved ON true
        LEFT JOIN LATERAL (
          SELECT (after ->> 'overdraft_limit')::bigint AS value FROM ledger.audit
          WHERE action = 'SET_OVERDRAFT_LIMIT' AND subject = 'account/' || account.id
          ORDER BY created_at_us DESC LIMIT 1) AS limited ON true
        WHERE account.status::text <> coalesce(moved.status, 'ACTIVE')
           OR account.overdraft_limit <> coalesce(limited.value, 0)""",
    "every identifier is audited": """
        SELECT account, scheme, value FROM ledger.external_identifiers EXCEPT
        SELECT substr(subject, 9)::bigint, after ->> 'scheme', after ->> 'value'
        FROM ledger.audit WHERE action = 'LINK_IDENTIFIER'""",
    "versions run from 1 without gap or fork": """
        SELECT account.id, account.version, count(entry.version), max(entry.version)
        FROM ledger.accounts AS account
        LEFT JOIN ledger.entries AS entry ON entry.account = account.id
        GROUP BY account.id, account.version
        HAVING count(entry.version) <> account.version
            OR count(DISTINCT entry.version) <> account.version
            OR coalesce(max(entry.version), 0) <> account.version
            OR coalesce(min(entry.version), 1) <> 1""",
    "each entry starts from the balance that the one before left": """
        SELECT account, version, balance_after, change, earlier FROM (
          SELECT *, coalesce(
            lag(balance_after) OVER (PARTITION BY account ORDER BY version), 0) AS earlier
          FROM ledger.entries) AS chain
        WHERE balance_after <> earlier + change""",
    "the stored balance is that of the last entry": """
        SELECT account.id, account.balance, account.last_entry_us, last.balance_after
        FROM ledger.accounts AS account
        JOIN LATERAL (
          SELECT balance_after, created_at_us FROM ledger.entries
          WHERE account = account.id ORDER BY version DESC LIMIT 1) AS last ON true
        WHERE account.balance <> last.balance_after
           OR account.last_entry_us <> last.created_at_us""",
    "an account without entries is at zero": """
        SELECT id, balance FROM ledger.accounts WHERE version = 0 AND balance <> 0""",
    "time order is version order": """
        SELECT account, version FROM (
          SELECT *, lag(created_at_us) OVER (PARTITION BY account ORDER BY version) AS earlier
          FROM ledger.entries) AS chain
        WHERE created_at_us <= earlier""",
    "both accounts hold the transfer's currency": """
        SELECT transfer.id FROM ledger.transfers AS transfer
        LEFT JOIN ledger.accounts AS debit ON debit.id = debit_account
        LEFT JOIN ledger.accounts AS credit ON credit.id = credit_account
        WHERE debit.currency IS DISTINCT FROM transfer.currency
           OR credit.currency IS DISTINCT FROM transfer.currency""",
    "every transfer, group and decline has one key, and every key its outcome": """
        SELECT coalesce(used.outcome_id, row.id) FROM (
          SELECT id, client, 'TRANSFER' AS outcome FROM ledger.transfers WHERE group_id IS NULL
          UNION ALL SELECT id, client, 'GROUP' FROM ledger.transfer_groups
          UNION ALL SELECT id, client, 'DECLINE' FROM ledger.declines) AS row
        FULL JOIN (
          SELECT * FROM ledger.idempotency_keys
          WHERE outcome IN ('TRANSFER', 'GROUP', 'DECLINE')) AS used
        ON used.outcome_id = row.id AND used.client = row.client
           AND used.outcome::text = row.outcome
        WHERE row.id IS NULL OR used.outcome_id IS NULL""",
    "a group names exactly its transfers": """
        SELECT coalesce(row.group_id, told.group_id) FROM (
          SELECT group_id, id FROM ledger.transfers WHERE group_id IS NOT NULL) AS row
        FULL JOIN (
          SELECT id AS group_id, unnest(transfers) AS id FROM ledger.transfer_groups) AS told
        ON told.id = row.id AND told.group_id = row.group_id
        WHERE row.id IS NULL OR told.id IS NULL""",
    "what is held is what open holds still have": """
        SELECT account.id, account.held, holds.remaining FROM ledger.accounts AS account
        LEFT JOIN (
          SELECT debit_account, sum(amount - coalesce(gone, 0)) AS remaining
          FROM ledger.transfers AS hold
          LEFT JOIN (
            SELECT parent_id, sum(amount + coalesce(released, 0)) AS gone
            FROM ledger.transfers WHERE parent_id IS NOT NULL GROUP BY parent_id) AS children
          ON children.parent_id = hold.id
          WHERE kind = 'HOLD' GROUP BY debit_account) AS holds
        ON holds.debit_account = account.id
        WHERE account.held <> coalesce(holds.remaining, 0)""",
    "each debit starts from what the one before left held": """
        SELECT id, debit_held_after, earlier, change FROM (
          SELECT id, debit_held_after,
                 coalesce(lag(debit_held_after)
                   OVER (PARTITION BY debit_account ORDER BY debit_version), 0) AS earlier,
                 CASE kind WHEN 'HOLD' THEN amount WHEN 'RELEASE' THEN -amount
                           WHEN 'CAPTURE' THEN -amount - coalesce(released, 0) ELSE 0 END AS change
          FROM ledger.transfers) AS chain
        WHERE debit_held_after <> earlier + change OR debit_held_after < 0""",
    "open holds are those that still have something": """
        SELECT coalesce(open.id, hold.id), open.remaining, hold.remaining
        FROM ledger.open_holds AS open
        FULL JOIN (
          SELECT hold.id, hold.debit_account, count(child.id) AS children,
                 hold.amount - coalesce(sum(child.amount + coalesce(child.released, 0)), 0)
                   AS remaining
          FROM ledger.transfers AS hold
          LEFT JOIN ledger.transfers AS child ON child.parent_id = hold.id
          WHERE hold.kind = 'HOLD' GROUP BY hold.id, hold.debit_account, hold.amount) AS hold
        ON hold.id = open.id
        WHERE (open.id IS NULL) <> (coalesce(hold.remaining, 0) = 0)
           OR open.remaining <> hold.remaining OR open.account <> hold.debit_account
           OR open.sequence <> hold.children""",
    "children follow their parent without gap, and never take more than it has": """
        SELECT id, parent_sequence, place, parent_remaining, left_over FROM (
          SELECT child.id, child.parent_sequence, child.parent_remaining, parent.id AS parent,
                 row_number() OVER family AS place,
                 parent.amount - sum(child.amount + coalesce(child.released, 0)) OVER family
                   AS left_over,
                 lag(child.parent_state) OVER family AS before
          FROM ledger.transfers AS child
          LEFT JOIN ledger.transfers AS parent ON parent.id = child.parent_id
          WHERE child.parent_id IS NOT NULL
          WINDOW family AS (PARTITION BY child.parent_id ORDER BY child.parent_sequence)) AS family
        WHERE parent IS NULL OR parent_sequence <> place OR parent_remaining <> left_over
           OR left_over < 0
           OR before IN
             ('CAPTURED', 'RELEASED', 'EXPIRED', 'REFUNDED', 'REVERSED', 'ROLLED_BACK')""",
    "nothing was captured past its deadline": """
        SELECT child.id FROM ledger.transfers AS child
        JOIN ledger.transfers AS hold ON hold.id = child.parent_id
        WHERE child.kind = 'CAPTURE' AND child.created_at_us >= hold.expires_at_us""",
    "no outcome has two keys": """
        SELECT outcome_id, count(*) FROM ledger.idempotency_keys
        WHERE outcome NOT IN ('ACCOUNT_STATUS', 'ACCOUNT_LIMIT', 'ACCOUNT_IDENTIFIER')
        GROUP BY outcome_id HAVING count(*) > 1""",
    "every transfer is in the journal once, where its key says": """
        SELECT coalesce(row.id, told.id) FROM ledger.transfers AS row
        JOIN ledger.idempotency_keys AS used ON used.outcome_id = coalesce(row.group_id, row.id)
        FULL JOIN (
          SELECT unnest(transfers) AS id, xid, journal.id AS journal_id FROM ledger.journal) AS told
        ON told.id = row.id
        WHERE row.id IS NULL OR told.id IS NULL
           OR told.xid <> used.journal_xid OR told.journal_id <> used.journal_id""",
    "the journal tells nothing twice": """
        SELECT id, count(*) FROM (
          SELECT unnest(transfers || declines) AS id FROM ledger.journal) AS told
        GROUP BY id HAVING count(*) > 1""",
    "every decline is in the journal": """
        SELECT id FROM ledger.declines EXCEPT
        SELECT unnest(declines) FROM ledger.journal""",
    "every opened account is in the journal": """
        SELECT id FROM ledger.accounts EXCEPT
        SELECT unnest(accounts) FROM ledger.journal""",
    "personal data belongs to a row that has its hash": """
        SELECT details.id FROM ledger.transfer_details AS details
        WHERE NOT EXISTS (SELECT FROM ledger.transfers AS row
                          WHERE row.id = details.id AND row.details_hash IS NOT NULL)
          AND NOT EXISTS (SELECT FROM ledger.declines AS row
                          WHERE row.id = details.id AND row.details_hash IS NOT NULL)""",
    "what has a hash has its personal data, sealed or erased": """
        SELECT id FROM ledger.transfers WHERE details_hash IS NOT NULL
        UNION ALL SELECT id FROM ledger.declines WHERE details_hash IS NOT NULL
        EXCEPT SELECT id FROM ledger.transfer_details""",
    "an authorized transfer has its authorization": """
        SELECT transfer.id FROM ledger.transfers AS transfer
        LEFT JOIN ledger.authorizations AS proof
          ON proof.id = transfer.authorization_id
          AND (proof.transfer_id = transfer.id
               OR proof.group_id = transfer.group_id AND proof.payer = transfer.debit_account)
        WHERE transfer.step_up = 'AUTHORIZED' AND proof.id IS NULL""",
}
"""Each query finds what must not be."""

TABLES = (
    "accounts",
    "transfers",
    "declines",
    "transfer_details",
    "authorizations",
    "idempotency_keys",
    "transfer_groups",
    "open_holds",
    "journal",
    "audit",
)
"""Tables that commands write."""


async def violations(connection: asyncpg.Connection) -> list[str]:
    """What of CHECKS does not hold, with a first example each."""
    found = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for promise, query in CHECKS.items():
            rows = await connection.fetch(query)
            if rows:
                found.append(f"{promise}: {len(rows)} breaches, first {dict(rows[0])}")
    return found


async def counts(connection: asyncpg.Connection) -> dict[str, Any]:
    """Rows of every table that commands write, and the money that is out."""
    found = {
        table: await connection.fetchval(f"SELECT count(*) FROM ledger.{table}") for table in TABLES
    }
    moved = await connection.fetchval("SELECT coalesce(sum(abs(balance)), 0) FROM ledger.accounts")
    return {**found, "money out": moved}


async def whole_ledger(dsn: str) -> None:
    """Assert that nothing of CHECKS is broken."""
    connection = await asyncpg.connect(dsn)
    try:
        assert await violations(connection) == []
    finally:
        await connection.close()
