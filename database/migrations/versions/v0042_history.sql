-- squawk-disable-assume-in-transaction
-- A build that failed leaves an index that is not valid: away with it first.

DROP INDEX CONCURRENTLY IF EXISTS ledger.declines_of_payer;
CREATE INDEX CONCURRENTLY IF NOT EXISTS declines_of_payer
  ON ledger.declines (debit_account, created_at_us, id);

-- Holds and releases are no entries of their payee. Of the whole, which has no rows, at once; the
-- partitions' own are built one by one, beside the writers, and make it valid.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS transfers_held_for
  ON ONLY ledger.transfers (credit_account, created_at_us, id) WHERE credit_version IS NULL;
