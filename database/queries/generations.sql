-- What the search index consists of, and its building, as role paycore_projector.

-- name: list_generations(sink)
SELECT generation, state, epoch, months, reason, phase, after_id, documents, expected,
       extract(epoch FROM now() - switched_at)::float8 AS switched_s_ago
FROM projection.generations
WHERE sink = :sink
ORDER BY generation;

-- name: add_generation(sink, generation, state, epoch, months, reason, phase, expected)!
INSERT INTO projection.generations
  (sink, generation, state, epoch, months, reason, phase, expected)
VALUES (:sink, :generation, :state, :epoch, :months::text[], :reason, :phase, :expected);

-- name: note_months(sink, generation, months)!
UPDATE projection.generations
SET months = :months::text[]
WHERE sink = :sink AND generation = :generation;

-- name: advance_build(sink, generation, phase, after_id, documents)!
UPDATE projection.generations
SET phase = :phase, after_id = :after_id, documents = :documents
WHERE sink = :sink AND generation = :generation AND state = 'BUILDING';

-- name: retire(sink, generation, state)!
UPDATE projection.generations
SET state = :state, switched_at = now()
WHERE sink = :sink AND generation = :generation;

-- name: serve(sink, generation, epoch)!
UPDATE projection.generations
SET state = 'SERVING', phase = '', switched_at = now(), epoch = :epoch
WHERE sink = :sink AND generation = :generation;

-- name: forget_generation(sink, generation)!
DELETE FROM projection.generations WHERE sink = :sink AND generation = :generation;

-- name: expected_documents()$
-- About how many a build will write.
SELECT greatest(0, sum(reltuples))::bigint
FROM pg_catalog.pg_class
WHERE relkind = 'r' AND relnamespace = 'ledger'::regnamespace
  AND (relname IN ('declines', 'accounts')
       OR oid IN (SELECT inhrelid FROM pg_catalog.pg_inherits
                  WHERE inhparent = 'ledger.transfers'::regclass));

-- name: last_ids()^
SELECT (SELECT max(id) FROM ledger.transfers) AS transfers,
       (SELECT max(id) FROM ledger.declines) AS declines,
       (SELECT max(id) FROM ledger.accounts) AS accounts;

-- name: next_transfers(after_id, until_id, most)
SELECT id FROM ledger.transfers WHERE id > :after_id::bigint AND id <= :until_id::bigint
ORDER BY id LIMIT :most::int;

-- name: next_declines(after_id, until_id, most)
SELECT id FROM ledger.declines WHERE id > :after_id::bigint AND id <= :until_id::bigint
ORDER BY id LIMIT :most::int;

-- name: next_accounts(after_id, until_id, most)
SELECT id FROM ledger.accounts WHERE id > :after_id::bigint AND id <= :until_id::bigint
ORDER BY id LIMIT :most::int;

-- name: journal_end()^
-- The last row that no transaction still under way can come before.
SELECT xid, id FROM ledger.journal
WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid DESC, id DESC
LIMIT 1;

-- name: next_request(sink, actions)^
SELECT id, action, kind, document_id, reason, requested_by
FROM projection.requests
WHERE sink = :sink AND ended_at IS NULL AND action = ANY (:actions::text[])
ORDER BY id
LIMIT 1;

-- name: end_request(id, outcome)!
UPDATE projection.requests SET ended_at = now(), outcome = left(:outcome, 2048)
WHERE id = :id AND ended_at IS NULL;
