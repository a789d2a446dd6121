-- What devices touched of late.

-- name: touch_together(device, kind, subjects, most, window_s)$
-- All of `subjects` or none: 0, or the milliseconds after which there may be room.
SELECT ledger.touch(:device::bytea, :kind::text, :subjects::bytea[], :most::int, :window_s::int)

-- name: touch_each(devices, kind, subjects, most, window_s)$
-- The same for each pair by itself, in the order given: each locks its device, so that devices must
-- come in the same order everywhere.
SELECT ledger.touch_each(
  :devices::bytea[], :kind::text, :subjects::bytea[], :most::int, :window_s::int)

-- name: forget_touches(before_us, size)$
-- How many were removed, of the devices that have the oldest. A device that is being counted at the
-- time is left for another time.
WITH removed AS (
  DELETE FROM ledger.device_touches
  WHERE device = ANY (ARRAY(
    SELECT oldest.device
    FROM (
      SELECT device
      FROM ledger.device_touches
      WHERE seen_us < :before_us::bigint
      ORDER BY seen_us
      LIMIT :size::int
    ) AS oldest
    WHERE pg_try_advisory_xact_lock(ledger.device_lock(oldest.device))
  )) AND seen_us < :before_us::bigint
  RETURNING 1
)
SELECT count(*) FROM removed
