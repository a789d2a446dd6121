-- What an account's watchers read declines by, in the order of the journal. Those that were stored
-- before have none, and are not watched: a row is never changed, and nobody watched then.

ALTER TABLE ledger.declines ADD COLUMN IF NOT EXISTS xid xid8;
ALTER TABLE ledger.declines ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
COMMENT ON COLUMN ledger.declines.xid IS
  'The transaction that stored it, as in the journal; NULL where that was before the column.';
