-- Verifications that found nothing wrong, and up to where: the next may go on from there.

CREATE TABLE ledger.verifications (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  recorded_us bigint NOT NULL
    DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
  epoch       bigint NOT NULL,
  xid         xid8   NOT NULL,
  journal_id  bigint NOT NULL,
  snapshot    pg_snapshot NOT NULL,
  since       bigint REFERENCES ledger.verifications (id),
  checks      jsonb  NOT NULL CHECK (jsonb_typeof(checks) = 'object')
);
COMMENT ON TABLE ledger.verifications IS
  'Each row: the ledger was found whole, as far as it was visible in the snapshot.';
COMMENT ON COLUMN ledger.verifications.journal_id IS
  'With epoch and xid the position up to which every reader''s journal is complete.';
COMMENT ON COLUMN ledger.verifications.since IS
  'The verification on which this one builds; NULL where it began with the first row.';
COMMENT ON COLUMN ledger.verifications.checks IS 'How many were examined, by rule.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.verifications
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.verifications ENABLE ALWAYS TRIGGER append_only;

GRANT SELECT, INSERT (epoch, xid, journal_id, snapshot, since, checks)
  ON ledger.verifications TO paycore_audit;
