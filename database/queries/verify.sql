-- What a verification reads beside its checks: its snapshot, its place in the journal, what there is
-- to do, and the totals that the index is held against. As role paycore_audit.

-- name: share_snapshot()$
SELECT pg_export_snapshot()

-- name: prepare()#
-- Sorts and hashes spill to disk beyond this. Each plan fits its own slice; a session keeps to one
-- core, so that payments keep the others; and may wait as long as the other has work. It stops no
-- reader of the journal meanwhile: it has no transaction id.
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL work_mem = '64MB';
SET LOCAL hash_mem_multiplier = 1;
SET LOCAL plan_cache_mode = force_custom_plan;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL jit = off

-- name: snapshot()$
SELECT pg_current_snapshot()

-- name: snapshot_position()^
-- The last journal row below the watermark: everything up to it is in this snapshot. `complete`
-- tells that nothing above it is.
SELECT epoch.epoch,
       coalesce(last.xid, '0'::xid8) AS xid,
       coalesce(last.id, 0) AS journal_id,
       NOT EXISTS (
         SELECT FROM ledger.journal WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())
       ) AS complete
FROM ledger.epoch
LEFT JOIN LATERAL (
  SELECT xid, id FROM ledger.journal
  WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
  ORDER BY xid DESC, id DESC
  LIMIT 1
) AS last ON true

-- name: newest_position()^
SELECT xid, id AS journal_id FROM ledger.journal ORDER BY xid DESC, id DESC LIMIT 1

-- name: totals(from_us, before_us)
-- Count and sum of what was posted, by kind, and of what was declined, per currency, in a time.
SELECT kind::text AS state, currency, count(*) AS items, sum(amount) AS total
FROM ledger.transfers
WHERE created_at_us >= :from_us::bigint AND created_at_us < :before_us::bigint
GROUP BY kind, currency
UNION ALL
SELECT 'FAILED', currency, count(*), sum(amount)
FROM ledger.declines
WHERE created_at_us >= :from_us::bigint AND created_at_us < :before_us::bigint
GROUP BY currency
ORDER BY state, currency

-- name: count_transfers(low, high)^
-- How many there are from `low` to below `high`, and the ids that they lie between.
SELECT count(*) AS transfers, min(id) AS first, max(id) AS last
FROM ledger.transfers
WHERE id >= :low::bigint AND id < :high::bigint

-- name: slice_bounds(low, high, step)
-- The first id of every slice of `step` transfers.
SELECT id
FROM (
  SELECT id, row_number() OVER (ORDER BY id) AS number
  FROM ledger.transfers
  WHERE id >= :low::bigint AND id < :high::bigint
) AS numbered
WHERE number % :step::bigint = 0
ORDER BY id
