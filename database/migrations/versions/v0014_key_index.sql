-- squawk-disable-assume-in-transaction
-- A build that failed leaves an index that is not valid: away with it first.

DROP INDEX CONCURRENTLY IF EXISTS ledger.idempotency_keys_once;
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS idempotency_keys_once
  ON ledger.idempotency_keys (ledger.key_locator(client, key));

-- Statistics of the index's own values, for the plan of the look-up.
ANALYZE ledger.idempotency_keys;
