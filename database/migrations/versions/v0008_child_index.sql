-- squawk-disable-assume-in-transaction
-- A build that failed leaves an index that is not valid: away with it first.

DROP INDEX CONCURRENTLY IF EXISTS ledger.transfers_child;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS transfers_child
  ON ledger.transfers (parent_id, parent_sequence) WHERE parent_id IS NOT NULL;
