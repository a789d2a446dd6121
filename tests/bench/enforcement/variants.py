"""Ways to keep balances and transfers together, on the same tables."""

from __future__ import annotations

from dataclasses import dataclass

_POST = """
WITH {moved} posted AS (
  INSERT INTO ledger.transfers (
    id, debit_account, credit_account, amount, debit_version, credit_version,
    debit_balance_after, credit_balance_after, debit_held_after, created_at_us,
    kind, step_up, currency, client)
  SELECT id, debit, credit, amount, debit_version, credit_version, debit_after, credit_after, 0,
         created_us, 'TRANSFER', 'NOT_APPLICABLE', 'EUR', 'bench'
  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
              $7::bigint[], $8::bigint[], $9::bigint[])
    AS new (id, debit, credit, amount, debit_version, credit_version, debit_after, credit_after,
            created_us)
), remembered AS (
  INSERT INTO ledger.idempotency_keys
    (client, key, outcome, outcome_id, request_hash, journal_id)
  SELECT 'bench', key, 'TRANSFER', id, request_hash, $12
  FROM unnest($1::bigint[], $10::text[], $11::bytea[]) AS used (id, key, request_hash)
)
INSERT INTO ledger.journal (id, created_at_us, transfers) VALUES ($12::bigint, 1, $1::bigint[])
RETURNING xid"""

_UPDATE = """moved AS (
  UPDATE ledger.accounts AS account
  SET balance = new.balance, version = new.version, last_entry_us = new.last_entry_us
  FROM unnest($13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[])
    AS new (id, version_read, balance, version, last_entry_us)
  WHERE account.id = new.id AND account.version = new.version_read
  RETURNING 1
),"""

_UNGUARDED = """
ALTER TABLE ledger.transfers DISABLE TRIGGER apply_transfers;
ALTER TABLE ledger.accounts DISABLE TRIGGER only_by_transfers;
"""

_COMPARED = (
    _UNGUARDED
    + """
CREATE FUNCTION ledger.compare_balances() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
  IF EXISTS (
    SELECT
    FROM new_rows AS after
    JOIN old_rows AS before USING (id)
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(change), 0)::bigint AS change, count(*) AS entries
      FROM (
        SELECT -amount AS change FROM ledger.transfers
        WHERE debit_account = after.id
          AND debit_version > before.version AND debit_version <= after.version
        UNION ALL
        SELECT amount FROM ledger.transfers
        WHERE credit_account = after.id
          AND credit_version > before.version AND credit_version <= after.version
      ) AS legs
    ) AS made
    WHERE after.balance - before.balance <> made.change
       OR after.version - before.version <> made.entries
  ) THEN
    RAISE EXCEPTION 'balances changed otherwise than by transfers';
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER compare_balances AFTER UPDATE ON ledger.accounts
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.compare_balances();
"""
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way, what makes a migrated database follow it, and the statement of a batch."""

    name: str
    explained: str
    setup: str
    statement: str
    sends_accounts: bool


VARIANTS = (
    Variant(
        "unguarded",
        "the service writes balances, nobody checks",
        _UNGUARDED,
        _POST.format(moved=_UPDATE),
        sends_accounts=True,
    ),
    Variant(
        "compared",
        "the service writes balances, a trigger compares them with the transfers",
        _COMPARED,
        _POST.format(moved=_UPDATE),
        sends_accounts=True,
    ),
    Variant(
        "applied",
        "a trigger writes balances from the transfers (as shipped)",
        "",
        _POST.format(moved=""),
        sends_accounts=False,
    ),
)
