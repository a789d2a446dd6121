-- squawk-ignore-file renaming-object, ban-drop-constraint
-- The table takes the place of the one that becomes its first part, in one transaction.

-- Transfers by month: ids are ordered by time, so that a partition is a range of ids. Old months stay
-- as they are, their indexes cold; a new one starts with small ones.

CREATE TABLE ledger.transfers_by_month (LIKE ledger.transfers INCLUDING CONSTRAINTS INCLUDING COMMENTS)
  PARTITION BY RANGE (id);
ALTER TABLE ledger.transfers_by_month DROP CONSTRAINT transfers_first_bound;
ALTER TABLE ledger.transfers_by_month ADD CONSTRAINT transfers_by_month_pkey PRIMARY KEY (id);
CREATE INDEX transfers_by_month_reference ON ledger.transfers_by_month (client, reference, id)
  WHERE reference IS NOT NULL;

-- The checked bound spares the attachment its look at every row.
DO $$
DECLARE
  bound bigint := substring(pg_get_constraintdef(oid) FROM '\d{6,}')
    FROM pg_constraint
    WHERE conname = 'transfers_first_bound' AND conrelid = 'ledger.transfers'::regclass;
BEGIN
  DROP VIEW ledger.entries;
  ALTER TABLE ledger.transfers RENAME TO transfers_first;
  EXECUTE format(
    'ALTER TABLE ledger.transfers_by_month ATTACH PARTITION ledger.transfers_first'
    ' FOR VALUES FROM (MINVALUE) TO (%s)', bound);
  ALTER TABLE ledger.transfers_by_month RENAME TO transfers;
  ALTER TABLE ledger.transfers_first DROP CONSTRAINT transfers_first_bound;
  REVOKE ALL ON ledger.transfers_first
    FROM paycore_command, paycore_projector, paycore_query, paycore_audit;
END
$$;
ALTER INDEX ledger.transfers_pkey RENAME TO transfers_first_pkey;
ALTER INDEX ledger.transfers_by_month_pkey RENAME TO transfers_pkey;
ALTER INDEX ledger.transfers_reference RENAME TO transfers_first_reference;
ALTER INDEX ledger.transfers_by_month_reference RENAME TO transfers_reference;
ALTER INDEX ledger.transfers_debit_entry RENAME TO transfers_first_debit_entry;
ALTER INDEX ledger.transfers_credit_entry RENAME TO transfers_first_credit_entry;
ALTER INDEX ledger.transfers_child RENAME TO transfers_first_child;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.transfers
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER apply_transfers AFTER INSERT ON ledger.transfers
  REFERENCING NEW TABLE AS inserted
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.apply_transfers();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER apply_transfers;

GRANT SELECT ON ledger.transfers
  TO paycore_command, paycore_projector, paycore_query, paycore_audit;
GRANT INSERT ON ledger.transfers TO paycore_command;

-- Both sides of every transfer, as an account holder reads them: HOLD and RELEASE move nothing and
-- are entries of the debited account alone.
CREATE VIEW ledger.entries AS
  SELECT debit_account AS account, debit_version AS version, id AS transfer,
         CASE WHEN credit_version IS NULL THEN 0 ELSE -amount END AS change,
         debit_balance_after AS balance_after,
         CASE kind WHEN 'HOLD' THEN amount
                   WHEN 'RELEASE' THEN -amount
                   WHEN 'CAPTURE' THEN -(amount + coalesce(released, 0))
                   ELSE 0 END AS held_change,
         debit_held_after AS held_after,
         currency, created_at_us
  FROM ledger.transfers
  UNION ALL
  SELECT credit_account, credit_version, id, amount, credit_balance_after, 0, NULL, currency,
         created_at_us
  FROM ledger.transfers
  WHERE credit_version IS NOT NULL;
GRANT SELECT ON ledger.entries TO paycore_command, paycore_audit, paycore_projector, paycore_query;

-- Uniqueness across partitions of what is not the partition's key, the posting's locks and guards
-- keep, and verification proves.
CREATE FUNCTION ledger.add_transfer_partition(month date) RETURNS boolean
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  first_day timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
  next_first timestamptz := (date_trunc('month', month::timestamp) + interval '1 month')
    AT TIME ZONE 'UTC';
  partition text := 'transfers_' || to_char(month, 'YYYY_MM');
  covered bigint;
BEGIN
  -- One at a time: two that add the same month would meet at the attachment.
  PERFORM pg_advisory_xact_lock(x'70617274'::int);
  SELECT max(substring(pg_get_expr(child.relpartbound, child.oid)
                       FROM 'TO \(''(\d+)''\)')::bigint)
  INTO covered
  FROM pg_catalog.pg_inherits AS link
  JOIN pg_catalog.pg_class AS child ON child.oid = link.inhrelid
  WHERE link.inhparent = 'ledger.transfers'::regclass;
  IF covered >= ledger.first_transfer_id(next_first) THEN
    RETURN false;
  END IF;
  IF covered <> ledger.first_transfer_id(first_day) THEN
    RAISE EXCEPTION 'partitions are added in order: the last one ends at id %', covered
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  EXECUTE format(
    'CREATE TABLE ledger.%I (LIKE ledger.transfers INCLUDING CONSTRAINTS)', partition);
  EXECUTE format('ALTER TABLE ledger.%1$I ADD CONSTRAINT %2$I PRIMARY KEY (id)',
                 partition, partition || '_pkey');
  EXECUTE format('CREATE UNIQUE INDEX %2$I ON ledger.%1$I (debit_account, debit_version)',
                 partition, partition || '_debit_entry');
  EXECUTE format('CREATE UNIQUE INDEX %2$I ON ledger.%1$I (credit_account, credit_version)',
                 partition, partition || '_credit_entry');
  EXECUTE format('CREATE UNIQUE INDEX %2$I ON ledger.%1$I (parent_id, parent_sequence)'
                 ' WHERE parent_id IS NOT NULL', partition, partition || '_child');
  EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%I'
                 ' FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', partition);
  EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER append_only', partition);
  -- Those of the whole do not run for rows that are put into a partition itself.
  EXECUTE format('CREATE TRIGGER apply_transfers AFTER INSERT ON ledger.%I'
                 ' REFERENCING NEW TABLE AS inserted'
                 ' FOR EACH STATEMENT EXECUTE FUNCTION ledger.apply_transfers()', partition);
  EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER apply_transfers', partition);
  -- Attached last: the writers are stopped for no longer than the catalogue takes.
  EXECUTE format('ALTER TABLE ledger.transfers ATTACH PARTITION ledger.%I'
                 ' FOR VALUES FROM (%s) TO (%s)', partition,
                 ledger.first_transfer_id(first_day), ledger.first_transfer_id(next_first));
  RETURN true;
END
$$;
COMMENT ON FUNCTION ledger.add_transfer_partition IS
  'Makes the partition for the transfers of one month; false where there is one already.';
REVOKE ALL ON FUNCTION ledger.add_transfer_partition FROM PUBLIC;

-- From the present month on: the bound may have been set in an earlier one.
SELECT ledger.add_transfer_partition(
  (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date)
FROM generate_series(0, 13) AS ahead;
