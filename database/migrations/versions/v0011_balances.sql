-- A transfer changes its accounts by being inserted, and nothing else changes them: no role may write
-- balances, and for the owner a trigger refuses it.

-- Sequential scans are off in these functions: their plans are kept, and one that was made while the
-- tables were small must not read them whole when they are large.

CREATE FUNCTION ledger.apply_transfers() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
  wanted bigint;
  applied bigint;
BEGIN
  WITH legs AS (
    SELECT debit_account AS account, currency, debit_version AS version, created_at_us,
           debit_balance_after AS balance_after,
           CASE WHEN credit_version IS NULL THEN 0 ELSE -amount END AS change,
           CASE kind WHEN 'HOLD' THEN amount
                     WHEN 'RELEASE' THEN -amount
                     WHEN 'CAPTURE' THEN -(amount + coalesce(released, 0))
                     ELSE 0 END AS held_change,
           debit_held_after AS held_after, kind <> 'RELEASE' AS debits,
           CASE WHEN kind = 'DEPOSIT' THEN 'EXTERNAL'::ledger.account_kind
                WHEN parent_id IS NULL THEN 'CUSTOMER' END AS kind
    FROM inserted
    UNION ALL
    SELECT credit_account, currency, credit_version, created_at_us, credit_balance_after, amount, 0,
           NULL, false,
           CASE WHEN kind = 'WITHDRAWAL' THEN 'EXTERNAL'::ledger.account_kind
                WHEN parent_id IS NULL THEN 'CUSTOMER' END
    FROM inserted
    WHERE credit_version IS NOT NULL
  ), sums AS (
    SELECT account, count(*) AS entries,
           min(version) AS first_version, min(created_at_us) AS first_us,
           max(created_at_us) AS last_us,
           sum(change)::bigint AS change, sum(held_change)::bigint AS held_change,
           max(ARRAY[version, balance_after]) AS last,
           max(ARRAY[version, held_after]) FILTER (WHERE held_after IS NOT NULL) AS last_held,
           min(currency) AS currency, max(currency) AS currency_too, bool_or(debits) AS debits,
           min(kind) AS kind, max(kind) AS kind_too
    FROM legs
    GROUP BY account
  ), moved AS (
    UPDATE ledger.accounts AS account
    SET balance = account.balance + sums.change, held = account.held + sums.held_change,
        version = account.version + sums.entries, last_entry_us = sums.last_us
    FROM sums
    WHERE account.id = sums.account
      AND account.currency = sums.currency AND account.currency = sums.currency_too
      -- What follows another transfer has the accounts of that one, whatever their kind.
      AND (sums.kind IS NULL OR account.kind = sums.kind AND account.kind = sums.kind_too)
      AND (account.status = 'ACTIVE' OR account.status = 'FROZEN' AND NOT sums.debits)
      AND account.version + 1 = sums.first_version
      AND account.version + sums.entries = sums.last[1]
      AND account.balance + sums.change = sums.last[2]
      AND account.last_entry_us < sums.first_us
      AND (sums.last_held IS NULL OR account.held + sums.held_change = sums.last_held[2])
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM sums), (SELECT count(*) FROM moved) INTO wanted, applied;
  IF applied <> wanted THEN
    -- The accounts are not as the transfers were decided from: whoever decides anew, finds out why.
    RAISE EXCEPTION 'transfers do not follow on % of % accounts', wanted - applied, wanted
      USING ERRCODE = 'serialization_failure';
  END IF;
  IF EXISTS (SELECT FROM inserted WHERE kind IN ('HOLD', 'CAPTURE', 'RELEASE', 'REFUND', 'REVERSAL'))
  THEN
    PERFORM ledger.check_children(array_agg(id)) FROM inserted WHERE parent_id IS NOT NULL;
    INSERT INTO ledger.open_holds (id, account, remaining, expires_at_us)
      SELECT id, debit_account, amount, expires_at_us FROM inserted WHERE kind = 'HOLD';
    PERFORM ledger.reduce_holds(array_agg(id)) FROM inserted WHERE kind IN ('CAPTURE', 'RELEASE');
  END IF;
  -- Both accounts of a hold are in its currency; only one of them has an entry.
  IF EXISTS (
    SELECT FROM inserted AS hold
    LEFT JOIN ledger.accounts AS payee ON payee.id = hold.credit_account
    WHERE hold.credit_version IS NULL AND payee.currency IS DISTINCT FROM hold.currency
  ) THEN
    RAISE EXCEPTION 'a hold is not in the currency of its payee' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END
$$;

-- All that must be true of what follows a transfer, so that a value that is missing refuses it.
CREATE FUNCTION ledger.check_children(ids bigint[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
  IF EXISTS (
    SELECT
    FROM ledger.transfers AS child
    LEFT JOIN ledger.transfers AS parent ON parent.id = child.parent_id
    LEFT JOIN ledger.legal_children AS legal
      ON legal.parent = parent.kind AND legal.child = child.kind
    LEFT JOIN ledger.transfers AS before
      ON before.parent_id = child.parent_id AND before.parent_sequence = child.parent_sequence - 1
    WHERE child.id = ANY (ids)
      AND (legal.child IS NOT NULL
           AND parent.currency = child.currency
           AND (parent.debit_account, parent.credit_account) = (
                CASE WHEN child.kind IN ('CAPTURE', 'RELEASE')
                     THEN (child.debit_account, child.credit_account)
                     ELSE (child.credit_account, child.debit_account) END)
           AND (child.parent_sequence = 1) = (before.id IS NULL)
           AND child.parent_remaining = coalesce(before.parent_remaining, parent.amount)
                                        - child.amount - coalesce(child.released, 0)
           AND (before.id IS NULL OR before.parent_state NOT IN
                  ('CAPTURED', 'RELEASED', 'EXPIRED', 'REVERSED', 'ROLLED_BACK'))
           AND CASE child.kind
                 WHEN 'CAPTURE' THEN
                   child.created_at_us < coalesce(parent.expires_at_us, child.created_at_us + 1)
                   AND child.parent_state = CASE child.parent_remaining
                         WHEN 0 THEN 'CAPTURED'::ledger.transfer_state
                         ELSE 'PARTIALLY_CAPTURED' END
                 WHEN 'RELEASE' THEN
                   child.parent_remaining = 0
                   AND (child.parent_state IN ('RELEASED', 'ROLLED_BACK')
                        OR child.parent_state = 'EXPIRED'
                           AND child.created_at_us >= parent.expires_at_us)
                 WHEN 'REFUND' THEN
                   child.parent_state = CASE child.parent_remaining
                     WHEN 0 THEN 'REFUNDED'::ledger.transfer_state
                     ELSE 'PARTIALLY_REFUNDED' END
                 ELSE
                   child.parent_sequence = 1 AND child.parent_remaining = 0
                   AND child.parent_state = 'REVERSED'
               END
           -- The indexes of partitions do not see each other.
           AND NOT EXISTS (
                 SELECT
                 FROM ledger.transfers AS other
                 WHERE other.parent_id = child.parent_id
                   AND other.parent_sequence >= child.parent_sequence
                   AND other.id <> child.id
                   AND (other.parent_sequence = child.parent_sequence OR other.id <> ALL (ids)))
          ) IS NOT TRUE
  ) THEN
    RAISE EXCEPTION 'a transfer does not follow its parent' USING ERRCODE = 'check_violation';
  END IF;
END
$$;

CREATE FUNCTION ledger.reduce_holds(ids bigint[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
  wanted bigint := (SELECT count(DISTINCT parent_id) FROM ledger.transfers WHERE id = ANY (ids));
  ended bigint;
  reduced bigint;
BEGIN
  DELETE FROM ledger.open_holds AS hold
  USING ledger.transfers AS child
  WHERE child.id = ANY (ids) AND child.parent_id = hold.id AND child.parent_remaining = 0;
  GET DIAGNOSTICS ended = ROW_COUNT;
  UPDATE ledger.open_holds AS hold
  SET remaining = latest.remaining, sequence = latest.sequence
  FROM (
    SELECT parent_id, min(parent_remaining) AS remaining, max(parent_sequence) AS sequence
    FROM ledger.transfers
    WHERE id = ANY (ids)
    GROUP BY parent_id
  ) AS latest
  WHERE hold.id = latest.parent_id;
  GET DIAGNOSTICS reduced = ROW_COUNT;
  IF ended + reduced IS DISTINCT FROM wanted THEN
    RAISE EXCEPTION 'a hold is not open' USING ERRCODE = 'check_violation';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION ledger.apply_transfers, ledger.check_children, ledger.reduce_holds
  FROM PUBLIC;

CREATE TRIGGER apply_transfers AFTER INSERT ON ledger.transfers
  REFERENCING NEW TABLE AS inserted
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.apply_transfers();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER apply_transfers;

REVOKE UPDATE (balance, held, version, last_entry_us) ON ledger.accounts FROM paycore_command;
CREATE TRIGGER only_by_transfers
  BEFORE UPDATE OF balance, held, version, last_entry_us ON ledger.accounts
  FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER only_by_transfers;

-- Accounts are born at zero.
REVOKE INSERT ON ledger.accounts FROM paycore_command;
GRANT INSERT (id, kind, currency, owner, institution, opened_by, overdraft_limit, created_at_us)
  ON ledger.accounts TO paycore_command;
CREATE TRIGGER born_at_zero BEFORE INSERT ON ledger.accounts
  FOR EACH ROW WHEN (NEW.balance <> 0 OR NEW.held <> 0 OR NEW.version <> 0 OR NEW.last_entry_us <> 0)
  EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER born_at_zero;
