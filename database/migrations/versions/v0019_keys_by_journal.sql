-- squawk-disable-assume-in-transaction
-- A build that failed leaves an index that is not valid: away with it first.

DROP INDEX CONCURRENTLY IF EXISTS ledger.idempotency_keys_journal;
-- Some pages for the whole table: keys are written in the order of their journal rows.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idempotency_keys_journal
  ON ledger.idempotency_keys USING brin (journal_id)
  WITH (pages_per_range = 32, autosummarize = on);
