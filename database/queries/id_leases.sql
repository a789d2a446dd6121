-- Instance numbers of Snowflake generators. Expiry is judged by the database's clock alone; how far the
-- ids of a number may have come is told in milliseconds since 1970 by the clock of whoever issued them.
-- Processes of releases before 0050 do not tell it: they issued none after their lease.

-- name: lease(holder, lease_s, now_ms, until_ms)$
-- Takes a number that nobody holds and whose ids all lie behind `now_ms`; NULL when another took it
-- first or none is left. The new holder may issue up to `until_ms`.
INSERT INTO ledger.id_leases AS held (instance, holder, expires_at, issued_until_ms)
SELECT candidate, :holder::uuid, clock_timestamp() + make_interval(secs => :lease_s::float8),
       :until_ms::bigint
FROM (
  SELECT number::smallint AS candidate
  FROM generate_series(0, 1023) AS number
  LEFT JOIN ledger.id_leases AS taken ON taken.instance = number
  WHERE taken.instance IS NULL
     OR (taken.expires_at < clock_timestamp()
         AND greatest(taken.issued_until_ms, (extract(epoch FROM taken.expires_at) * 1000)::bigint)
             < :now_ms::bigint)
  ORDER BY random()
  LIMIT 1
) AS free
ON CONFLICT (instance) DO UPDATE
  SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at,
      issued_until_ms = EXCLUDED.issued_until_ms
  WHERE held.expires_at < clock_timestamp()
    AND greatest(held.issued_until_ms, (extract(epoch FROM held.expires_at) * 1000)::bigint)
        < :now_ms::bigint
RETURNING instance

-- name: renew(instance, holder, lease_s, until_ms)$
-- The holder may issue up to `until_ms`, or as far as it might before; returns how far that is.
UPDATE ledger.id_leases
SET expires_at = clock_timestamp() + make_interval(secs => :lease_s::float8),
    issued_until_ms = greatest(issued_until_ms, :until_ms::bigint)
WHERE instance = :instance::smallint AND holder = :holder::uuid
  AND expires_at > clock_timestamp()
RETURNING issued_until_ms

-- name: release(instance, holder, rest_s, issued_ms)!
-- The number rests for a while: a statement of its holder's that is late finds it gone. Its ids came
-- as far as `issued_ms`, which may be less than its holder might have issued.
UPDATE ledger.id_leases
SET expires_at = least(expires_at, clock_timestamp() + make_interval(secs => :rest_s::float8)),
    issued_until_ms = least(issued_until_ms, :issued_ms::bigint)
WHERE instance = :instance::smallint AND holder = :holder::uuid

-- name: count_ahead(now_ms)$
-- How many numbers that nobody holds have ids at or past `now_ms`.
SELECT count(*) FROM ledger.id_leases
WHERE expires_at < clock_timestamp()
  AND greatest(issued_until_ms, (extract(epoch FROM expires_at) * 1000)::bigint) >= :now_ms::bigint
