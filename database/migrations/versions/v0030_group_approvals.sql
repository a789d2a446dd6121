-- squawk-disable-assume-in-transaction
-- A payer approves a group once. A build that failed leaves an index that is not valid: away with it
-- first.

DROP INDEX CONCURRENTLY IF EXISTS ledger.authorizations_of_payer;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS authorizations_of_payer
  ON ledger.authorizations (group_id, payer) WHERE group_id IS NOT NULL;
