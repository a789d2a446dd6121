-- Instance numbers of Snowflake generators. Expiry is judged by the database's clock alone.

-- name: lease(holder, lease_s)$
-- Takes a number that is free or expired; NULL when another took it first or none is left.
INSERT INTO ledger.id_leases AS held (instance, holder, expires_at)
SELECT candidate, :holder::uuid, clock_timestamp() + make_interval(secs => :lease_s::float8)
FROM (
  SELECT number::smallint AS candidate
  FROM generate_series(0, 1023) AS number
  LEFT JOIN ledger.id_leases AS taken ON taken.instance = number
  WHERE taken.instance IS NULL OR taken.expires_at < clock_timestamp()
  ORDER BY random()
  LIMIT 1
) AS free
ON CONFLICT (instance) DO UPDATE
  SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at
  WHERE held.expires_at < clock_timestamp()
RETURNING instance

-- name: renew(instance, holder, lease_s)$
UPDATE ledger.id_leases
SET expires_at = clock_timestamp() + make_interval(secs => :lease_s::float8)
WHERE instance = :instance::smallint AND holder = :holder::uuid
  AND expires_at > clock_timestamp()
RETURNING instance

-- name: release(instance, holder, rest_s)!
-- The number rests for a while, so that its next holder cannot issue an id of the same millisecond.
UPDATE ledger.id_leases
SET expires_at = least(expires_at, clock_timestamp() + make_interval(secs => :rest_s::float8))
WHERE instance = :instance::smallint AND holder = :holder::uuid
