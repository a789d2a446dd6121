-- Security events that a process writes itself, many at a time.

-- name: write_for_services(first_us, last_us, counts, events, clients, methods, reasons, users, addresses, request_ids, device_hints, address_hints, owner_keys, actor_keys, sealed)!
INSERT INTO audit.events (
  first_us, last_us, count, event, client, method, reason, user_id, ip_address, request_id,
  device_hint, address_hint, owner_key, actor_key, sealed)
SELECT * FROM unnest(
  :first_us::bigint[], :last_us::bigint[], :counts::bigint[], :events::text[], :clients::text[],
  :methods::text[], :reasons::text[], :users::text[], :addresses::text[], :request_ids::text[],
  :device_hints::text[], :address_hints::text[], :owner_keys::bigint[], :actor_keys::bigint[],
  :sealed::bytea[])

-- name: write_for_signing(first_us, last_us, counts, events, clients, methods, reasons, users, addresses, request_ids, devices)!
INSERT INTO signing.events (
  first_us, last_us, count, event, client, method, reason, user_id, ip_address, request_id,
  device_id)
SELECT * FROM unnest(
  :first_us::bigint[], :last_us::bigint[], :counts::bigint[], :events::text[], :clients::text[],
  :methods::text[], :reasons::text[], :users::text[], :addresses::text[], :request_ids::text[],
  :devices::text[])
