-- From which device and address somebody changed an account or policy is sealed under that person's
-- data key, as in security events. Who did what and why stays in the open.

ALTER TABLE ledger.audit
  ADD COLUMN device_hint  text CHECK (device_hint ~ '^[0-9a-f]{4}$'),
  ADD COLUMN address_hint text CHECK (address_hint ~ '^[0-9a-f]{4}$'),
  ADD COLUMN actor_key    bigint,
  ADD COLUMN traced_us    bigint,
  ADD COLUMN sealed       bytea CHECK (length(sealed) BETWEEN 30 AND 2048),
  ADD CONSTRAINT audit_sealed_under_a_key CHECK (
    (sealed IS NULL) = (actor_key IS NULL) AND (sealed IS NULL OR traced_us IS NOT NULL)) NOT VALID;
COMMENT ON COLUMN ledger.audit.device_id IS
  'Plain, of a release before: python -m operations.seal seals it.';
COMMENT ON COLUMN ledger.audit.ip_address IS
  'Of a database session. That of a person is sealed.';
COMMENT ON COLUMN ledger.audit.device_hint IS
  '16 bits of a keyed hash; without anything sealed: no key could be had, or no user was named.';
COMMENT ON COLUMN ledger.audit.actor_key IS 'The data key of who acted.';
COMMENT ON COLUMN ledger.audit.traced_us IS
  'When it was sealed, in microseconds since 1970: what is sealed is bound to it.';

-- Processes of the release before give the plain settings, which are written as they are.
CREATE OR REPLACE FUNCTION ledger.write_audit(action text, subject text, before jsonb, after jsonb)
  RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  named text := nullif(current_setting('paycore.client', true), '');
  given bigint := nullif(current_setting('paycore.audit_id', true), '');
BEGIN
  IF given IS NOT NULL THEN
    PERFORM set_config('paycore.audit_id', '', true);
  END IF;
  INSERT INTO ledger.audit (
    id, created_at_us, client, action, subject, before, after, reason, user_id, device_id,
    ip_address, database_user, device_hint, address_hint, actor_key, traced_us, sealed
  )
  VALUES (
    coalesce(given, nextval('ledger.audit_id')),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    coalesce(named, session_user), action, subject, before, after,
    nullif(current_setting('paycore.reason', true), ''),
    nullif(current_setting('paycore.user_id', true), ''),
    nullif(current_setting('paycore.device_id', true), ''),
    CASE WHEN named IS NULL THEN host(inet_client_addr())
         ELSE nullif(current_setting('paycore.ip_address', true), '') END,
    session_user,
    nullif(current_setting('paycore.device_hint', true), ''),
    nullif(current_setting('paycore.address_hint', true), ''),
    nullif(current_setting('paycore.actor_key', true), '')::bigint,
    nullif(current_setting('paycore.traced_us', true), '')::bigint,
    decode(nullif(current_setting('paycore.sealed', true), ''), 'hex')
  );
END
$$;

-- Whether a key was erased is asked anew for each column that is sealed: a part that joined anything
-- would be planned by itself, and so read whole and sorted instead of followed by its index. Keys are
-- looked up by the index too, not in a hash of all that were ever erased.
CREATE OR REPLACE VIEW audit.trail AS
SELECT 'LEDGER'::text AS source, id, created_at_us AS first_us, created_at_us AS last_us,
       1::bigint AS count, action AS event, client, NULL::text AS method, reason, user_id,
       device_id, ip_address, NULL::text AS request_id, subject, database_user, before, after,
       CASE WHEN NOT EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key = ANY (ARRAY[audit.actor_key])
       ) THEN device_hint END AS device_hint,
       CASE WHEN NOT EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key = ANY (ARRAY[audit.actor_key])
       ) THEN address_hint END AS address_hint,
       actor_key AS owner_key, NULL::bigint AS actor_key,
       CASE WHEN NOT EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key = ANY (ARRAY[audit.actor_key])
       ) THEN sealed END AS sealed,
       EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key = ANY (ARRAY[audit.actor_key])
       ) AS erased, traced_us
FROM ledger.audit
UNION ALL
SELECT 'SERVICES', id, first_us, last_us, count, event, client, method, reason, user_id,
       device_id, ip_address, request_id, NULL, database_user, NULL, NULL,
       CASE WHEN NOT EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) THEN device_hint END,
       CASE WHEN NOT EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) THEN address_hint END,
       owner_key, actor_key,
       CASE WHEN NOT EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) THEN sealed END,
       EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ), first_us
FROM audit.events
UNION ALL
SELECT 'SIGNING', id, first_us, last_us, count, event, client, method, reason, user_id,
       device_id, ip_address, request_id, NULL, database_user, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, false, NULL
FROM signing.events;
