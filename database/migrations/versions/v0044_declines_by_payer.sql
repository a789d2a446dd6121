-- squawk-disable-assume-in-transaction
-- A build that failed leaves an index that is not valid: away with it first.

DROP INDEX CONCURRENTLY IF EXISTS ledger.declines_by_payer;
CREATE INDEX CONCURRENTLY IF NOT EXISTS declines_by_payer
  ON ledger.declines (debit_account, xid, id) WHERE xid IS NOT NULL;
