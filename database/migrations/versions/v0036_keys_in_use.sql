-- Keys live in the keystore, which has no trail: these tables remember what was last seen there, and
-- tell of what is new. No key material.

CREATE TABLE signing.known_keys (
  active_from_us bigint NOT NULL,
  known_since_us bigint NOT NULL DEFAULT signing.now_us(),
  id             text   PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
  purpose        text   NOT NULL CHECK (purpose ~ '^[A-Z]{1,32}$')
);
COMMENT ON TABLE signing.known_keys IS 'Every key that was ever seen in the keystore.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON signing.known_keys
  FOR EACH STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.known_keys ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT, INSERT (active_from_us, id, purpose) ON signing.known_keys TO paycore_signing;

CREATE TABLE signing.keys_in_use (
  purpose text PRIMARY KEY,
  id      text NOT NULL REFERENCES signing.known_keys
);
COMMENT ON TABLE signing.keys_in_use IS
  'By purpose, the key that the process which last started or changed over uses for what is new.';
GRANT SELECT, INSERT, UPDATE (id) ON signing.keys_in_use TO paycore_signing;

CREATE FUNCTION signing.tell_of_key() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM signing.write_event(
    'KEY_ADDED', NULL, NULL,
    concat_ws(' ', NEW.purpose, NEW.id, 'for use from',
              to_char(to_timestamp(NEW.active_from_us / 1000000.0) AT TIME ZONE 'UTC',
                      'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_key() FROM PUBLIC;
CREATE TRIGGER tells AFTER INSERT ON signing.known_keys
  FOR EACH ROW EXECUTE FUNCTION signing.tell_of_key();
ALTER TABLE signing.known_keys ENABLE ALWAYS TRIGGER tells;

CREATE FUNCTION signing.tell_of_rotation() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM signing.write_event(
    'KEY_ROTATED', NULL, NULL, concat_ws(' ', NEW.purpose, NEW.id, 'in use instead of', OLD.id));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_rotation() FROM PUBLIC;
CREATE TRIGGER tells AFTER UPDATE ON signing.keys_in_use
  FOR EACH ROW WHEN (NEW.id <> OLD.id) EXECUTE FUNCTION signing.tell_of_rotation();
ALTER TABLE signing.keys_in_use ENABLE ALWAYS TRIGGER tells;
