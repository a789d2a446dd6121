-- Security events that a process writes itself, many at a time. A service that is not to write
-- anything else has a session that is read only: it says for each of these transactions that it is not.

-- name: allow_writing()!
SET TRANSACTION READ WRITE

-- name: write_for_services(first_us, last_us, counts, events, clients, methods, reasons, users, devices, addresses, request_ids)!
INSERT INTO audit.events (
  first_us, last_us, count, event, client, method, reason, user_id, device_id, ip_address, request_id)
SELECT * FROM unnest(
  :first_us::bigint[], :last_us::bigint[], :counts::bigint[], :events::text[], :clients::text[],
  :methods::text[], :reasons::text[], :users::text[], :devices::text[], :addresses::text[],
  :request_ids::text[])

-- name: write_for_signing(first_us, last_us, counts, events, clients, methods, reasons, users, devices, addresses, request_ids)!
INSERT INTO signing.events (
  first_us, last_us, count, event, client, method, reason, user_id, device_id, ip_address, request_id)
SELECT * FROM unnest(
  :first_us::bigint[], :last_us::bigint[], :counts::bigint[], :events::text[], :clients::text[],
  :methods::text[], :reasons::text[], :users::text[], :devices::text[], :addresses::text[],
  :request_ids::text[])
