-- squawk-ignore-file ban-drop-not-null
-- HOLD and RELEASE have no entry on the credited account; every reader of the columns is ours.

-- A transfer may follow another, its parent. The parent's state is what its latest child says.
-- Every new column is nullable and without a default, so that no row is written again.

ALTER TABLE ledger.transfers
  ALTER COLUMN credit_version DROP NOT NULL,
  ALTER COLUMN credit_balance_after DROP NOT NULL,
  ADD COLUMN parent_id        bigint,
  ADD COLUMN parent_sequence  bigint,
  ADD COLUMN parent_remaining bigint,
  ADD COLUMN parent_state     ledger.transfer_state,
  ADD COLUMN released         bigint,
  ADD COLUMN expires_at_us    bigint,
  ADD COLUMN group_id         bigint,
  ADD COLUMN review           text;

ALTER TABLE ledger.transfers
  ADD CONSTRAINT transfers_legs CHECK (
    CASE WHEN kind IN ('HOLD', 'RELEASE')
         THEN credit_version IS NULL AND credit_balance_after IS NULL
         ELSE credit_version IS NOT NULL AND credit_balance_after IS NOT NULL END) NOT VALID,
  ADD CONSTRAINT transfers_child CHECK (
    CASE WHEN kind IN ('CAPTURE', 'RELEASE', 'REFUND', 'REVERSAL')
         THEN parent_id IS NOT NULL AND parent_state IS NOT NULL
              AND coalesce(parent_sequence, 0) > 0 AND coalesce(parent_remaining, -1) >= 0
         ELSE parent_id IS NULL END) NOT VALID,
  ADD CONSTRAINT transfers_extras CHECK (
    (expires_at_us IS NULL OR kind = 'HOLD')
    AND (review IS NULL OR kind = 'HOLD' AND length(review) BETWEEN 1 AND 64)
    AND (released IS NULL OR kind = 'CAPTURE' AND released > 0 AND coalesce(parent_remaining, -1) = 0)) NOT VALID;

COMMENT ON COLUMN ledger.transfers.parent_id IS
  'The transfer that this one captures, releases, refunds or reverses.';
COMMENT ON COLUMN ledger.transfers.parent_sequence IS 'Gap-free from 1 under its parent.';
COMMENT ON COLUMN ledger.transfers.parent_remaining IS
  'What the parent has left after this row, to be captured or refunded.';
COMMENT ON COLUMN ledger.transfers.parent_state IS 'The state in which this row put its parent.';
COMMENT ON COLUMN ledger.transfers.released IS
  'What a capture that ended its hold set free beside what it moved.';
COMMENT ON COLUMN ledger.transfers.expires_at_us IS
  'From when on a hold cannot be captured, whether or not it has been released yet.';
COMMENT ON COLUMN ledger.transfers.review IS
  'The rule for which a payment was posted as a hold, until someone approves or refuses it.';

ALTER TABLE ledger.declines
  ADD COLUMN parent_id bigint,
  ADD COLUMN group_id  bigint;
COMMENT ON COLUMN ledger.declines.group_id IS
  'Set when a whole group was refused: the row then tells of its first item that failed.';

-- Which transfer may follow which.
CREATE TABLE ledger.legal_children (
  parent ledger.transfer_kind NOT NULL,
  child  ledger.transfer_kind NOT NULL,
  PRIMARY KEY (parent, child)
);
INSERT INTO ledger.legal_children (parent, child) VALUES
  ('HOLD', 'CAPTURE'),
  ('HOLD', 'RELEASE'),
  ('TRANSFER', 'REFUND'),
  ('CAPTURE', 'REFUND'),
  ('FEE', 'REFUND'),
  ('TRANSFER', 'REVERSAL'),
  ('DEPOSIT', 'REVERSAL'),
  ('WITHDRAWAL', 'REVERSAL'),
  ('CAPTURE', 'REVERSAL'),
  ('FEE', 'REVERSAL'),
  ('NET_SETTLEMENT', 'REVERSAL');

-- Transfers that were posted together under one key, in their order.
CREATE TABLE ledger.transfer_groups (
  id            bigint PRIMARY KEY,
  created_at_us bigint NOT NULL,
  client        text NOT NULL,
  transfers     bigint[] NOT NULL,
  CONSTRAINT transfer_groups_size CHECK (cardinality(transfers) BETWEEN 1 AND 1000)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.transfer_groups
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.transfer_groups ENABLE ALWAYS TRIGGER append_only;

-- What is held now: working state that follows from the transfers and may be rebuilt from them.
CREATE TABLE ledger.open_holds (
  id            bigint PRIMARY KEY,
  account       bigint NOT NULL,
  remaining     bigint NOT NULL CHECK (remaining > 0),
  sequence      bigint NOT NULL DEFAULT 0,
  expires_at_us bigint
) WITH (fillfactor = 70);
CREATE INDEX open_holds_expiry ON ledger.open_holds (expires_at_us) WHERE expires_at_us IS NOT NULL;
CREATE INDEX open_holds_account ON ledger.open_holds (account);

GRANT SELECT ON ledger.legal_children, ledger.transfer_groups, ledger.open_holds
  TO paycore_command, paycore_audit;
GRANT SELECT ON ledger.transfer_groups TO paycore_projector, paycore_query;
GRANT INSERT ON ledger.transfer_groups TO paycore_command;
