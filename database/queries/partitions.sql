-- Partitions of ledger.transfers, one for each month, as paycore_owner.

-- name: add_transfer_partition(month)$
-- False where the month is covered already.
SELECT ledger.add_transfer_partition(:month)

-- name: covered_until()$
-- The first moment that no partition covers.
SELECT to_timestamp(
         (max(substring(pg_get_expr(child.relpartbound, child.oid) FROM 'TO \(''(\d+)''\)')::bigint
              >> 22) + 1735689600000) / 1000.0)
FROM pg_catalog.pg_inherits AS link
JOIN pg_catalog.pg_class AS child ON child.oid = link.inhrelid
WHERE link.inhparent = 'ledger.transfers'::regclass
