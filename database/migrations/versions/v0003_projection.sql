-- The projector's own state. It holds no money and no personal data: all of it can be rebuilt from
-- the ledger.

CREATE SCHEMA projection;

-- How far each sink has accepted the journal. Without a row: nothing yet.
CREATE TABLE projection.checkpoints (
  sink       text PRIMARY KEY CHECK (length(sink) BETWEEN 1 AND 64),
  epoch      bigint NOT NULL CHECK (epoch > 0),
  xid        xid8   NOT NULL,
  journal_id bigint NOT NULL CHECK (journal_id >= 0),
  updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE projection.checkpoints IS
  'Moved only after the sink accepted everything up to (xid, journal_id) of ledger.journal.';

-- Documents that a sink refused for good, by id: their content is in the ledger.
CREATE TABLE projection.dead_letters (
  sink            text   NOT NULL CHECK (length(sink) BETWEEN 1 AND 64),
  kind            text   NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
  document_id     bigint NOT NULL,
  version         bigint NOT NULL,
  error_type      text   NOT NULL CHECK (length(error_type) <= 128),
  reason          text   NOT NULL CHECK (length(reason) <= 512),
  journal_xid     xid8   NOT NULL,
  journal_id      bigint NOT NULL,
  failures        bigint NOT NULL DEFAULT 1 CHECK (failures > 0),
  first_failed_at timestamptz NOT NULL DEFAULT now(),
  last_failed_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (sink, kind, document_id)
);
COMMENT ON COLUMN projection.dead_letters.journal_id IS
  'With journal_xid the end of the batch in which the document was last refused.';

GRANT USAGE ON SCHEMA projection TO paycore_projector, paycore_audit;
GRANT SELECT, INSERT, UPDATE ON projection.checkpoints TO paycore_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON projection.dead_letters TO paycore_projector;
GRANT SELECT ON projection.checkpoints, projection.dead_letters TO paycore_audit;
