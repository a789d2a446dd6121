-- Whoever is erased has no PIN and no device any more that approves payments: the hash goes, devices
-- are revoked and their public keys forgotten. What they approved stays as it was recorded, with the
-- ids that this service made for them.

-- Processes of the release before meet a NULL only after an erasure: they are to be replaced first.
-- squawk-ignore ban-drop-not-null
ALTER TABLE signing.devices ALTER COLUMN public_key DROP NOT NULL;
ALTER TABLE signing.devices ADD CONSTRAINT devices_forgotten_are_revoked
  CHECK (public_key IS NOT NULL OR revoked_at_us IS NOT NULL) NOT VALID;
COMMENT ON COLUMN signing.devices.public_key IS 'NULL once its user was erased.';

CREATE OR REPLACE FUNCTION signing.keep_device() RETURNS trigger
  LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
  IF TG_OP = 'UPDATE'
     AND (NEW.id, NEW.enrolled_at_us, NEW.user_id, NEW.algorithm, NEW.vouched_by)
         IS NOT DISTINCT FROM
         (OLD.id, OLD.enrolled_at_us, OLD.user_id, OLD.algorithm, OLD.vouched_by)
     AND NEW.revoked_at_us IS NOT NULL
     AND (OLD.revoked_at_us IS NULL OR NEW.revoked_at_us = OLD.revoked_at_us)
     AND (OLD.public_key IS NOT NULL AND NEW.public_key IS NULL
          OR OLD.revoked_at_us IS NULL AND NEW.public_key IS NOT DISTINCT FROM OLD.public_key)
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'a device is only revoked and forgotten, and once'
    USING ERRCODE = 'restrict_violation';
END
$$;

-- Of a device that was revoked before, nothing more is told: it approves as little as it did.
CREATE OR REPLACE FUNCTION signing.tell_of_device() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM signing.write_event(
      CASE WHEN NEW.vouched_by IS NULL THEN 'DEVICE_ENROLLED' ELSE 'DEVICE_VOUCHED_FOR' END,
      NEW.user_id, NEW.id, NULL);
  ELSIF OLD.revoked_at_us IS NULL THEN
    PERFORM signing.write_event(
      'DEVICE_REVOKED', NEW.user_id, NEW.id,
      CASE WHEN NEW.public_key IS NULL THEN 'its user was erased' END);
  END IF;
  RETURN NULL;
END
$$;

-- The service itself may change neither: this is the one way. Rows are locked in the order in which
-- enrolments and approvals lock them.
CREATE FUNCTION signing.forget_approvals(subject text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM 1 FROM signing.attempt_counters WHERE user_id = subject FOR UPDATE;
  DELETE FROM signing.pins WHERE user_id = subject;
  PERFORM 1 FROM signing.devices
    WHERE user_id = subject AND public_key IS NOT NULL
    ORDER BY id
    FOR UPDATE;
  UPDATE signing.devices
    SET revoked_at_us = coalesce(revoked_at_us, signing.now_us()), public_key = NULL
    WHERE user_id = subject AND public_key IS NOT NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.forget_approvals FROM PUBLIC;
GRANT EXECUTE ON FUNCTION signing.forget_approvals TO paycore_signing;
