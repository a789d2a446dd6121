-- From which device and address a person acted is sealed under the person's data key, as the details
-- of transfers are. Beside it stand hints: 16 bits of a keyed hash, to look for what is known.

ALTER TABLE audit.events
  ADD COLUMN device_hint  text CHECK (device_hint ~ '^[0-9a-f]{4}$'),
  ADD COLUMN address_hint text CHECK (address_hint ~ '^[0-9a-f]{4}$'),
  ADD COLUMN owner_key    bigint,
  ADD COLUMN actor_key    bigint,
  ADD COLUMN sealed       bytea CHECK (length(sealed) BETWEEN 30 AND 2048),
  ADD CONSTRAINT events_sealed_under_keys CHECK (
    (sealed IS NULL) = (owner_key IS NULL) AND (actor_key IS NULL OR owner_key IS NOT NULL)) NOT VALID;
COMMENT ON COLUMN audit.events.ip_address IS
  'Of the machine that called. That of a person is sealed.';
COMMENT ON COLUMN audit.events.device_id IS
  'Plain, of a release before: python -m operations.seal seals it.';
COMMENT ON COLUMN audit.events.device_hint IS
  '16 bits of a keyed hash; without anything sealed: no key could be had, or no user was named.';
COMMENT ON COLUMN audit.events.owner_key IS 'The data key of the user whom the event is about.';
COMMENT ON COLUMN audit.events.actor_key IS 'That of who acted, where it is somebody else.';
COMMENT ON COLUMN signing.events.device_id IS
  'Of a device key: a name that the signing service made.';

GRANT INSERT (device_hint, address_hint, owner_key, actor_key, sealed) ON audit.events
  TO paycore_command;

-- An erased trace is not even hinted at.
CREATE OR REPLACE VIEW audit.trail AS
SELECT 'LEDGER'::text AS source, id, created_at_us AS first_us, created_at_us AS last_us,
       1::bigint AS count, action AS event, client, NULL::text AS method, reason, user_id,
       device_id, ip_address, NULL::text AS request_id, subject, database_user, before, after,
       NULL::text AS device_hint, NULL::text AS address_hint, NULL::bigint AS owner_key,
       NULL::bigint AS actor_key, NULL::bytea AS sealed, false AS erased
FROM ledger.audit
UNION ALL
SELECT 'SERVICES', id, first_us, last_us, count, event, client, method, reason, user_id,
       device_id, ip_address, request_id, NULL, database_user, NULL, NULL,
       CASE WHEN NOT gone.erased THEN device_hint END,
       CASE WHEN NOT gone.erased THEN address_hint END,
       owner_key, actor_key, CASE WHEN NOT gone.erased THEN sealed END, gone.erased
FROM audit.events
CROSS JOIN LATERAL (
  SELECT EXISTS (
    SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
  ) AS erased
) AS gone
UNION ALL
SELECT 'SIGNING', id, first_us, last_us, count, event, client, method, reason, user_id,
       device_id, ip_address, request_id, NULL, database_user, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, false
FROM signing.events;
