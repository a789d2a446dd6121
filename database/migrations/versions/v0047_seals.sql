-- The chain of seals over the journal: each seals a run of its rows, with all that these wrote, and
-- names the hash of the seal before it (docs/seal.md).

CREATE TABLE ledger.seals (
  number       bigint NOT NULL PRIMARY KEY CHECK (number > 0),
  epoch        bigint NOT NULL CHECK (epoch > 0),
  first_xid    xid8   NOT NULL,
  first_id     bigint NOT NULL,
  last_xid     xid8   NOT NULL,
  last_id      bigint NOT NULL,
  journal_rows bigint NOT NULL CHECK (journal_rows > 0),
  sealed_at_us bigint NOT NULL,
  previous     bytea  NOT NULL CHECK (octet_length(previous) = 32),
  digests      bytea  NOT NULL,
  hash         bytea  NOT NULL CHECK (octet_length(hash) = 32),
  follows      bigint GENERATED ALWAYS AS (nullif(number - 1, 0)) STORED,
  CONSTRAINT seals_digest_a_row CHECK (octet_length(digests) = 32 * journal_rows),
  CONSTRAINT seals_in_order CHECK ((last_xid, last_id) >= (first_xid, first_id)),
  CONSTRAINT seals_begin CHECK (
    number > 1 OR previous = decode(repeat('00', 32), 'hex')),
  CONSTRAINT seals_once UNIQUE (number, hash),
  -- Each has the one before it, with the hash that it names: no gap and no fork.
  CONSTRAINT seals_follow FOREIGN KEY (follows, previous) REFERENCES ledger.seals (number, hash)
);
COMMENT ON TABLE ledger.seals IS
  'Each seals the journal rows after those of the seal before it, in the order of (xid, id).';
COMMENT ON COLUMN ledger.seals.epoch IS 'The epoch of the ledger when it was made.';
COMMENT ON COLUMN ledger.seals.previous IS 'The hash of the seal before; 32 zero bytes in the first.';
COMMENT ON COLUMN ledger.seals.digests IS
  'SHA-256 of each journal row with what it wrote, one after the other.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.seals
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.seals ENABLE ALWAYS TRIGGER append_only;

GRANT SELECT, INSERT ON ledger.seals TO paycore_projector;
GRANT SELECT ON ledger.seals TO paycore_audit;
