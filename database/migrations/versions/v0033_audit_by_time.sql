-- squawk-disable-assume-in-transaction
-- A build that failed leaves an index that is not valid: away with it first.

DROP INDEX CONCURRENTLY IF EXISTS ledger.audit_by_time;
CREATE INDEX CONCURRENTLY IF NOT EXISTS audit_by_time ON ledger.audit (created_at_us, id);
