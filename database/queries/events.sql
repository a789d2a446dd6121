-- What is done to security events as paycore_owner: sealing what is plain, and dropping what is old.
-- Nobody else can, and `paycore verify` names a trigger that stays off.

-- name: find_plain_events(after_id, most)
-- Of a release before: until then the address of a refused step-up was the person's.
SELECT id, first_us, event, client, user_id, device_id, ip_address
FROM audit.events
WHERE id > :after_id::bigint
  AND (device_id IS NOT NULL OR (event = 'STEP_UP_REFUSED' AND ip_address IS NOT NULL))
ORDER BY id
LIMIT :most::int

-- name: open_services_events#
ALTER TABLE audit.events DISABLE TRIGGER append_only

-- name: close_services_events#
ALTER TABLE audit.events ENABLE ALWAYS TRIGGER append_only

-- name: open_signing_events#
ALTER TABLE signing.events DISABLE TRIGGER append_only

-- name: close_signing_events#
ALTER TABLE signing.events ENABLE ALWAYS TRIGGER append_only

-- name: seal_events(ids, device_hints, address_hints, owner_keys, actor_keys, sealed)!
UPDATE audit.events AS events
SET device_id = NULL, ip_address = NULL, device_hint = new.device_hint,
    address_hint = new.address_hint, owner_key = new.owner_key, actor_key = new.actor_key,
    sealed = new.sealed
FROM unnest(
  :ids::bigint[], :device_hints::text[], :address_hints::text[], :owner_keys::bigint[],
  :actor_keys::bigint[], :sealed::bytea[]
) AS new (id, device_hint, address_hint, owner_key, actor_key, sealed)
WHERE events.id = new.id AND events.sealed IS NULL

-- name: drop_services_events(before_us, most)$
-- The oldest first; how many it were. As an array they are looked up: a join may read all to find
-- them, once for each transaction.
WITH old AS (
  DELETE FROM audit.events
  WHERE id = ANY (ARRAY(
    SELECT id FROM audit.events WHERE first_us < :before_us ORDER BY first_us, id LIMIT :most))
  RETURNING 1
)
SELECT count(*) FROM old

-- name: drop_signing_events(before_us, most)$
WITH old AS (
  DELETE FROM signing.events
  WHERE id = ANY (ARRAY(
    SELECT id FROM signing.events WHERE first_us < :before_us ORDER BY first_us, id LIMIT :most))
  RETURNING 1
)
SELECT count(*) FROM old

-- name: tell_of_drop(now_us, client, reason)!
INSERT INTO audit.events (first_us, last_us, event, client, reason)
VALUES (:now_us, :now_us, 'EVENTS_DROPPED', :client, :reason)
