-- PINs that are changed and reset, keys of devices, and authorizations that devices earn.

ALTER TABLE signing.pins ADD COLUMN reset_at_us bigint;
COMMENT ON COLUMN signing.pins.reset_at_us IS
  'Since then the user has no PIN and may enrol one; NULL while the PIN is in force.';

-- Sealed PINs that were set once. A recorded enrolment sent again after a reset would otherwise
-- bring back the PIN for which the reset was made.
CREATE TABLE signing.spent_enrolments (
  proof       bytea  PRIMARY KEY CHECK (length(proof) = 32),
  user_id     text   NOT NULL CHECK (length(user_id) BETWEEN 1 AND 128),
  spent_at_us bigint NOT NULL DEFAULT signing.now_us()
);
COMMENT ON COLUMN signing.spent_enrolments.proof IS 'SHA-256 of the sealed PIN.';
INSERT INTO signing.spent_enrolments (proof, user_id, spent_at_us)
SELECT proof, user_id, enrolled_at_us FROM signing.pins ON CONFLICT DO NOTHING;

CREATE TABLE signing.devices (
  id             text   PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'),
  enrolled_at_us bigint NOT NULL DEFAULT signing.now_us(),
  revoked_at_us  bigint,
  user_id        text   NOT NULL CHECK (length(user_id) BETWEEN 1 AND 128),
  algorithm      text   NOT NULL CHECK (algorithm IN ('ED25519', 'P256')),
  public_key     bytea  NOT NULL CHECK (
    length(public_key) = CASE algorithm WHEN 'ED25519' THEN 32 ELSE 65 END),
  vouched_by     text   CHECK (length(vouched_by) BETWEEN 1 AND 128)
);
CREATE UNIQUE INDEX devices_of_user ON signing.devices (user_id, public_key);
COMMENT ON INDEX signing.devices_of_user IS
  'A key is enrolled once for a user: revoked, it is in force under no other id, and never again.';
COMMENT ON COLUMN signing.devices.revoked_at_us IS
  'Set once. Whoever authorizes by the device holds the row against this change.';
COMMENT ON COLUMN signing.devices.vouched_by IS
  'The client that vouched for the user; NULL where the user''s PIN did.';

CREATE FUNCTION signing.keep_device() RETURNS trigger
  LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
  IF TG_OP <> 'UPDATE' OR OLD.revoked_at_us IS NOT NULL OR NEW.revoked_at_us IS NULL
     OR (NEW.id, NEW.enrolled_at_us, NEW.user_id, NEW.algorithm, NEW.public_key, NEW.vouched_by)
        IS DISTINCT FROM
        (OLD.id, OLD.enrolled_at_us, OLD.user_id, OLD.algorithm, OLD.public_key, OLD.vouched_by)
  THEN
    RAISE EXCEPTION 'a device is only revoked, and once' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION signing.keep_device() FROM PUBLIC;
CREATE TRIGGER devices_are_kept BEFORE UPDATE OR DELETE ON signing.devices
  FOR EACH ROW EXECUTE FUNCTION signing.keep_device();
ALTER TABLE signing.devices ENABLE ALWAYS TRIGGER devices_are_kept;
CREATE TRIGGER devices_stay BEFORE TRUNCATE ON signing.devices
  FOR EACH STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.devices ENABLE ALWAYS TRIGGER devices_stay;
CREATE TRIGGER spent_enrolments_append_only
  BEFORE UPDATE OR DELETE OR TRUNCATE ON signing.spent_enrolments
  FOR EACH STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.spent_enrolments ENABLE ALWAYS TRIGGER spent_enrolments_append_only;

-- Challenges carry their own proof of origin: only those that were used are written down, until they
-- expire.
CREATE TABLE signing.spent_challenges (
  challenge     bytea  PRIMARY KEY CHECK (length(challenge) = 32),
  expires_at_us bigint NOT NULL
);
CREATE INDEX spent_challenges_expire ON signing.spent_challenges (expires_at_us);
COMMENT ON COLUMN signing.spent_challenges.challenge IS 'SHA-256 of the challenge.';

ALTER TABLE signing.authorizations ADD COLUMN device_id text;
COMMENT ON COLUMN signing.authorizations.device_id IS
  'A row of signing.devices, none of which ever goes. It is inserted from that row.';
-- The one that follows allows all that this one did.
-- squawk-ignore ban-drop-constraint
ALTER TABLE signing.authorizations DROP CONSTRAINT authorizations_method_check;
ALTER TABLE signing.authorizations ADD CONSTRAINT authorizations_method_check CHECK (
  (method = 'PIN' AND device_id IS NULL) OR (method = 'DEVICE' AND device_id IS NOT NULL)
) NOT VALID;
COMMENT ON COLUMN signing.authorizations.id IS
  'The id of the attempt that earned it, or one of the same numbers.';

GRANT UPDATE (enrolled_at_us, pepper_id, encoded_hash, proof, reset_at_us)
  ON signing.pins TO paycore_signing;
GRANT SELECT, INSERT ON signing.spent_enrolments, signing.devices TO paycore_signing;
GRANT UPDATE (revoked_at_us) ON signing.devices TO paycore_signing;
GRANT SELECT, INSERT, DELETE ON signing.spent_challenges TO paycore_signing;
GRANT USAGE ON SEQUENCE signing.attempts_id_seq TO paycore_signing;
