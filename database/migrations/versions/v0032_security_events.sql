-- Security events: who was refused, who failed, what was locked. Services add to them and can neither
-- read nor change them. The signing service has a table of its own, beside what it tells of.

CREATE SCHEMA audit;
GRANT USAGE ON SCHEMA audit
  TO paycore_command, paycore_projector, paycore_query, paycore_audit;

CREATE TABLE audit.events (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  recorded_us   bigint NOT NULL
    DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
  first_us      bigint NOT NULL CHECK (first_us > 0),
  last_us       bigint NOT NULL,
  count         bigint NOT NULL DEFAULT 1 CHECK (count > 0),
  event         text   NOT NULL CHECK (event ~ '^[A-Z][A-Z_]{0,63}$'),
  client        text   CHECK (length(client) <= 128),
  method        text   CHECK (length(method) <= 256),
  reason        text   CHECK (length(reason) <= 512),
  user_id       text   CHECK (length(user_id) <= 128),
  device_id     text   CHECK (length(device_id) <= 128),
  ip_address    text   CHECK (length(ip_address) <= 64),
  request_id    text   CHECK (length(request_id) <= 64),
  database_user text   NOT NULL DEFAULT session_user,
  CONSTRAINT events_in_order CHECK (last_us >= first_us)
);
CREATE INDEX events_by_time ON audit.events (first_us, id);
COMMENT ON TABLE audit.events IS
  'A row stands for `count` events that are alike, from first_us to last_us; address and request id are the first one''s.';
COMMENT ON COLUMN audit.events.first_us IS 'By the clock of the process.';
COMMENT ON COLUMN audit.events.recorded_us IS
  'By the clock of the database; no service can set it, nor database_user.';
COMMENT ON COLUMN audit.events.client IS
  'Identity of the caller; NULL where its certificate names none.';

CREATE FUNCTION audit.refuse_change() RETURNS trigger
  LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
  RAISE EXCEPTION '%.% does not allow %', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation';
END
$$;
REVOKE ALL ON FUNCTION audit.refuse_change() FROM PUBLIC;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.events
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.events ENABLE ALWAYS TRIGGER append_only;

GRANT INSERT (first_us, last_us, count, event, client, method, reason, user_id, device_id,
              ip_address, request_id)
  ON audit.events TO paycore_command, paycore_projector, paycore_query;

CREATE TABLE signing.events (LIKE audit.events INCLUDING ALL);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON signing.events
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE signing.events ENABLE ALWAYS TRIGGER append_only;

GRANT INSERT (first_us, last_us, count, event, client, method, reason, user_id, device_id,
              ip_address, request_id)
  ON signing.events TO paycore_signing;

-- What happens to PINs and devices is written by the tables themselves: in the same transaction, by whatever way
-- it happens, and with the caller whom the service names in it.
CREATE FUNCTION signing.write_event(event text, about text, device text, why text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  now_us bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
BEGIN
  INSERT INTO signing.events (
    first_us, last_us, event, client, method, reason, user_id, device_id, ip_address, request_id)
  VALUES (
    now_us, now_us, event,
    coalesce(nullif(current_setting('paycore.client', true), ''), session_user),
    nullif(current_setting('paycore.method', true), ''),
    left(concat_ws('; ', why, nullif(current_setting('paycore.reason', true), '')), 512),
    about,
    device,
    nullif(current_setting('paycore.ip_address', true), ''),
    nullif(current_setting('paycore.request_id', true), ''));
END
$$;
REVOKE ALL ON FUNCTION signing.write_event(text, text, text, text) FROM PUBLIC;

CREATE FUNCTION signing.tell_of_pin() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM signing.write_event('PIN_REMOVED', OLD.user_id, NULL, NULL);
  ELSIF TG_OP = 'INSERT' OR OLD.reset_at_us IS NOT NULL AND NEW.reset_at_us IS NULL THEN
    PERFORM signing.write_event('PIN_ENROLLED', NEW.user_id, NULL, NULL);
  ELSIF OLD.reset_at_us IS NULL AND NEW.reset_at_us IS NOT NULL THEN
    PERFORM signing.write_event('PIN_RESET', NEW.user_id, NULL, NULL);
  ELSIF NEW.encoded_hash <> OLD.encoded_hash THEN
    PERFORM signing.write_event('PIN_CHANGED', NEW.user_id, NULL, NULL);
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_pin() FROM PUBLIC;
CREATE TRIGGER tells AFTER INSERT OR UPDATE OR DELETE ON signing.pins
  FOR EACH ROW EXECUTE FUNCTION signing.tell_of_pin();
ALTER TABLE signing.pins ENABLE ALWAYS TRIGGER tells;

CREATE FUNCTION signing.tell_of_device() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM signing.write_event(
    CASE WHEN TG_OP = 'UPDATE' THEN 'DEVICE_REVOKED'
         WHEN NEW.vouched_by IS NULL THEN 'DEVICE_ENROLLED'
         ELSE 'DEVICE_VOUCHED_FOR' END,
    NEW.user_id, NEW.id, NULL);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_device() FROM PUBLIC;
CREATE TRIGGER tells AFTER INSERT OR UPDATE ON signing.devices
  FOR EACH ROW EXECUTE FUNCTION signing.tell_of_device();
ALTER TABLE signing.devices ENABLE ALWAYS TRIGGER tells;

CREATE FUNCTION signing.tell_of_failure() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM signing.write_event(
    'PIN_INCORRECT', NEW.user_id, NULL,
    concat_ws(', ', NEW.verdict::text, NEW.attempts_left || ' attempts left'));
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_failure() FROM PUBLIC;
CREATE TRIGGER tells AFTER UPDATE OF verdict ON signing.attempts
  FOR EACH ROW WHEN (NEW.verdict IN ('INCORRECT', 'ABANDONED'))
  EXECUTE FUNCTION signing.tell_of_failure();
ALTER TABLE signing.attempts ENABLE ALWAYS TRIGGER tells;

CREATE FUNCTION signing.tell_of_lock() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NEW.locked_until_us > OLD.locked_until_us THEN
    PERFORM signing.write_event(
      'PIN_LOCKED', NEW.user_id, NULL,
      'until ' || to_char(to_timestamp(NEW.locked_until_us / 1000000.0) AT TIME ZONE 'UTC',
                          'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  ELSIF to_timestamp(OLD.locked_until_us / 1000000.0) > clock_timestamp() THEN
    PERFORM signing.write_event('PIN_UNLOCKED', NEW.user_id, NULL, NULL);
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.tell_of_lock() FROM PUBLIC;
CREATE TRIGGER tells AFTER UPDATE OF locked_until_us ON signing.attempt_counters
  FOR EACH ROW WHEN (NEW.locked_until_us IS DISTINCT FROM OLD.locked_until_us)
  EXECUTE FUNCTION signing.tell_of_lock();
ALTER TABLE signing.attempt_counters ENABLE ALWAYS TRIGGER tells;

-- With the rights of its owner: who reads it needs none on what it is made of.
CREATE VIEW audit.trail AS
SELECT 'LEDGER'::text AS source, id, created_at_us AS first_us, created_at_us AS last_us,
       1::bigint AS count, action AS event, client, NULL::text AS method, reason, user_id,
       device_id, ip_address, NULL::text AS request_id, subject, database_user, before, after
FROM ledger.audit
UNION ALL
SELECT 'SERVICES', id, first_us, last_us, count, event, client, method, reason, user_id,
       device_id, ip_address, request_id, NULL, database_user, NULL, NULL
FROM audit.events
UNION ALL
SELECT 'SIGNING', id, first_us, last_us, count, event, client, method, reason, user_id,
       device_id, ip_address, request_id, NULL, database_user, NULL, NULL
FROM signing.events;
COMMENT ON VIEW audit.trail IS
  'Changes of accounts, grants and policies, and the security events of all services.';
GRANT SELECT ON audit.trail TO paycore_audit;
