-- Personal data of transfers is sealed under a key per subject, which the signing service keeps and
-- can destroy. The columns of plain data stay for what was written before, and for processes of the
-- release before; `python -m operations.seal` seals what is plain.

ALTER TYPE ledger.grant_action ADD VALUE IF NOT EXISTS 'ERASE';

ALTER TABLE ledger.transfer_details
  ADD COLUMN owner_key bigint,
  ADD COLUMN actor_key bigint,
  ADD COLUMN sealed bytea;
ALTER TABLE ledger.transfer_details ADD CONSTRAINT transfer_details_plain_or_sealed CHECK (
  CASE WHEN sealed IS NULL
       THEN owner_key IS NULL AND actor_key IS NULL
       ELSE owner_key IS NOT NULL AND length(sealed) > 29
            AND actor_key IS DISTINCT FROM owner_key
            AND num_nonnulls(user_id, device_id, ip_address, description, metadata) = 0
  END) NOT VALID;
COMMENT ON COLUMN ledger.transfer_details.owner_key IS
  'The data key of the owner of the account whose payment it was, in the signing service.';
COMMENT ON COLUMN ledger.transfer_details.actor_key IS
  'The data key of who acted, where that was somebody else; the row opens with both only.';
COMMENT ON COLUMN ledger.transfer_details.sealed IS
  'Layout, nonce, ciphertext and tag, as paycore/runtime/sealing.py says.';

-- Nothing goes, for a row that is missing could not be told from one that was removed; and nothing
-- changes, but that what is plain is sealed.
CREATE FUNCTION ledger.only_seal() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF OLD.sealed IS NOT NULL OR NEW.sealed IS NULL OR NEW.id <> OLD.id THEN
    RAISE EXCEPTION 'ledger.transfer_details does not allow UPDATE but to seal'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION ledger.only_seal() FROM PUBLIC;
CREATE TRIGGER only_sealed BEFORE UPDATE ON ledger.transfer_details
  FOR EACH ROW EXECUTE FUNCTION ledger.only_seal();
ALTER TABLE ledger.transfer_details ENABLE ALWAYS TRIGGER only_sealed;
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.transfer_details
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.transfer_details ENABLE ALWAYS TRIGGER append_only;

-- Tombstones: what was sealed under such a key is erased, for every reader from the next statement on.
-- They name no subject, so that they link nobody to what is left.
CREATE TABLE ledger.erased_keys (
  data_key     bigint PRIMARY KEY,
  erased_at_us bigint NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.erased_keys
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.erased_keys ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT ON ledger.erased_keys
  TO paycore_command, paycore_projector, paycore_query, paycore_audit;

-- The one way to a tombstone, which leaves its trace in the audit. Asked again it adds only what is
-- new, and nothing to the audit where that is nothing.
CREATE FUNCTION ledger.erase_keys(subject text, keys bigint[], at_us bigint) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  added bigint;
BEGIN
  INSERT INTO ledger.erased_keys (data_key, erased_at_us)
    SELECT DISTINCT key, at_us FROM unnest(keys) AS key
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS added = ROW_COUNT;
  PERFORM ledger.write_audit(
    'ERASE_SUBJECT', 'subject/' || subject, NULL, jsonb_build_object('keys', added));
  RETURN added;
END
$$;
-- What clients told of a subject's accounts goes with it, at most so much at a time; how much went.
CREATE FUNCTION ledger.erase_account_details(subject text, most integer) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  removed bigint;
BEGIN
  DELETE FROM ledger.account_details
  WHERE id = ANY (ARRAY(
    SELECT told.id
    FROM ledger.accounts AS account
    JOIN ledger.account_details AS told ON told.id = account.id
    WHERE account.owner = subject
    LIMIT most));
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END
$$;
REVOKE ALL ON FUNCTION ledger.erase_keys, ledger.erase_account_details FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.erase_keys, ledger.erase_account_details TO paycore_command;

ALTER TABLE ledger.journal ADD COLUMN erased_keys bigint[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN ledger.journal.erased_keys IS
  'Data keys of a subject that was erased: what stands under them is to be shown anew.';

-- The signing service's: one key in force for each subject, only wrapped by the keystore. A key that is
-- destroyed is removed, and its tombstone stays.
CREATE TABLE signing.data_keys (
  id              bigint PRIMARY KEY CHECK (id > 0),
  created_at_us   bigint NOT NULL DEFAULT signing.now_us(),
  subject         text   NOT NULL CHECK (length(subject) BETWEEN 1 AND 128),
  wrapping_key_id text   NOT NULL CHECK (length(wrapping_key_id) BETWEEN 1 AND 64),
  wrapped         bytea  NOT NULL CHECK (length(wrapped) BETWEEN 32 AND 1024),
  CONSTRAINT data_keys_one_in_force UNIQUE (subject)
);
CREATE TABLE signing.destroyed_data_keys (
  id              bigint PRIMARY KEY,
  created_at_us   bigint NOT NULL,
  destroyed_at_us bigint NOT NULL DEFAULT signing.now_us(),
  subject         text   NOT NULL
);
CREATE INDEX destroyed_data_keys_of_subject ON signing.destroyed_data_keys (subject);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON signing.destroyed_data_keys
  FOR EACH STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.destroyed_data_keys ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER never_changed BEFORE UPDATE OR TRUNCATE ON signing.data_keys
  FOR EACH STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.data_keys ENABLE ALWAYS TRIGGER never_changed;
GRANT SELECT, INSERT, DELETE ON signing.data_keys TO paycore_signing;
GRANT SELECT, INSERT ON signing.destroyed_data_keys TO paycore_signing;

-- What a sink must take again: the documents whose details stand under a key that was erased, or that
-- could not be had when they were made. A row goes when the last of them is taken.
CREATE TABLE projection.rewrites (
  sink        text   NOT NULL CHECK (length(sink) BETWEEN 1 AND 64),
  data_key    bigint NOT NULL,
  round       bigint NOT NULL DEFAULT 1,
  after_id    bigint NOT NULL DEFAULT 0,
  not_before  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (sink, data_key)
);
COMMENT ON COLUMN projection.rewrites.round IS 'Rises when the work is asked for anew.';
COMMENT ON COLUMN projection.rewrites.after_id IS 'The last that the sink took in this round.';
GRANT SELECT, INSERT, UPDATE, DELETE ON projection.rewrites TO paycore_projector;
GRANT SELECT ON projection.rewrites TO paycore_audit;
