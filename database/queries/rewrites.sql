-- Documents that a sink must take again, as role paycore_projector.

-- name: request_rewrites(sink, keys)!
INSERT INTO projection.rewrites AS rewrite (sink, data_key)
SELECT DISTINCT :sink, key FROM unnest(:keys::bigint[]) AS key
ON CONFLICT (sink, data_key) DO UPDATE SET round = rewrite.round + 1, after_id = 0

-- name: next_rewrite(sink)^
-- Few rows at most: those put off are passed over.
SELECT data_key, round, after_id
FROM projection.rewrites
WHERE sink = :sink AND not_before <= now()
ORDER BY data_key
LIMIT 1

-- name: find_details_under(data_key, after_id, most)
-- The next transfers and declines whose details stand under a key.
SELECT id FROM ledger.transfer_details
WHERE owner_key = :data_key::bigint AND id > :after_id::bigint
UNION
SELECT id FROM ledger.transfer_details
WHERE actor_key = :data_key::bigint AND id > :after_id::bigint
ORDER BY id
LIMIT :most::int

-- name: advance_rewrite(sink, data_key, round, after_id)!
UPDATE projection.rewrites SET after_id = :after_id
WHERE sink = :sink AND data_key = :data_key AND round = :round

-- name: end_rewrite(sink, data_key, round)!
DELETE FROM projection.rewrites
WHERE sink = :sink AND data_key = :data_key AND round = :round

-- name: postpone_rewrite(sink, data_key, wait_ms)!
UPDATE projection.rewrites
SET not_before = now() + :wait_ms::int * interval '1 millisecond'
WHERE sink = :sink AND data_key = :data_key
