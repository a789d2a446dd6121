-- paycore_trail adds security events for a service whose own role must not write. roles.sql makes it.

DO $$
BEGIN
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO paycore_trail', current_database());
END
$$;
ALTER TABLE audit.events VALIDATE CONSTRAINT events_sealed_under_keys;
GRANT USAGE ON SCHEMA audit TO paycore_trail;
GRANT INSERT (first_us, last_us, count, event, client, method, reason, user_id, ip_address,
              request_id, device_hint, address_hint, owner_key, actor_key, sealed)
  ON audit.events TO paycore_trail;
-- One set of columns is written by all.
GRANT INSERT (device_hint, address_hint, owner_key, actor_key, sealed) ON audit.events
  TO paycore_projector;
