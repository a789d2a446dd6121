-- squawk-disable-assume-in-transaction
-- What an erasure looks for. A build that failed leaves an index that is not valid: away with it
-- first.

DROP INDEX CONCURRENTLY IF EXISTS ledger.transfer_details_owner_key;
CREATE INDEX CONCURRENTLY IF NOT EXISTS transfer_details_owner_key
  ON ledger.transfer_details (owner_key, id) WHERE owner_key IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS ledger.transfer_details_actor_key;
CREATE INDEX CONCURRENTLY IF NOT EXISTS transfer_details_actor_key
  ON ledger.transfer_details (actor_key, id) WHERE actor_key IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS ledger.accounts_owner;
CREATE INDEX CONCURRENTLY IF NOT EXISTS accounts_owner ON ledger.accounts (owner);
