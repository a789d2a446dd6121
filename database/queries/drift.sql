-- What the search index is held against, day by day, as role paycore_projector.

-- name: day_totals(low, high, from_us, before_us)
-- Count and sum of a slice of transfers by id, as each was posted.
SELECT created_at_us / 86400000000 AS day, currency, kind::text, count(*) AS items,
       sum(amount) AS total
FROM ledger.transfers
WHERE id >= :low::bigint AND id < :high::bigint
  AND created_at_us >= :from_us::bigint AND created_at_us < :before_us::bigint
GROUP BY 1, 2, 3;

-- name: day_moves(low, high, from_us, before_us)
-- Parents of a slice of children, of those that are their parent's latest: what they became.
SELECT parent.created_at_us / 86400000000 AS day, parent.currency, parent.kind::text,
       child.parent_state::text AS state, count(*) AS items, sum(parent.amount) AS total
FROM ledger.transfers AS child
JOIN ledger.transfers AS parent ON parent.id = child.parent_id
WHERE child.id >= :low::bigint AND child.id < :high::bigint AND child.parent_id IS NOT NULL
  AND parent.created_at_us >= :from_us::bigint AND parent.created_at_us < :before_us::bigint
  AND NOT EXISTS (
    SELECT FROM ledger.transfers AS later
    WHERE later.parent_id = child.parent_id AND later.parent_sequence > child.parent_sequence
  )
GROUP BY 1, 2, 3, 4;

-- name: day_declines(from_us, before_us)
SELECT created_at_us / 86400000000 AS day, currency, kind::text, count(*) AS items,
       sum(amount) AS total
FROM ledger.declines
WHERE created_at_us >= :from_us::bigint AND created_at_us < :before_us::bigint
GROUP BY 1, 2, 3;

-- name: slice_end(low, most)$
-- The first id after the next so many transfers; none where they are the last.
SELECT id FROM ledger.transfers
WHERE id >= :low::bigint ORDER BY id OFFSET :most::int LIMIT 1;

-- name: transfers_of_day(low, high, from_us, before_us)
-- Those of a slice that are of a day.
SELECT id FROM ledger.transfers
WHERE id >= :low::bigint AND id < :high::bigint
  AND created_at_us >= :from_us::bigint AND created_at_us < :before_us::bigint
ORDER BY id;

-- name: declines_of_day(after_id, from_us, before_us, most)
SELECT id FROM ledger.declines
WHERE id > :after_id::bigint
  AND created_at_us >= :from_us::bigint AND created_at_us < :before_us::bigint
ORDER BY id
LIMIT :most::int;

-- name: known_transfers(ids)
SELECT id FROM ledger.transfers WHERE id = ANY (:ids::bigint[])
UNION ALL
SELECT id FROM ledger.declines WHERE id = ANY (:ids::bigint[]);

-- name: known_accounts(ids)
SELECT id FROM ledger.accounts WHERE id = ANY (:ids::bigint[]);
