-- The read side as operators see it, as role paycore_operator.

-- name: generations(sink)
SELECT generation, state, epoch, months, reason, phase, documents, expected, created_at, switched_at
FROM projection.generations WHERE sink = :sink ORDER BY generation;

-- name: checkpoints()
SELECT sink, epoch, xid, journal_id, updated_at FROM projection.checkpoints ORDER BY sink;

-- name: ask(sink, action, kind, document_id, reason, requested_by)$
SELECT projection.request(:sink, :action, :kind, :document_id, :reason, :requested_by);

-- name: request(id)^
SELECT id, sink, action, kind, document_id, reason, requested_by, requested_at, ended_at, outcome
FROM projection.requests WHERE id = :id;

-- name: requests(sink, most)
SELECT id, sink, action, kind, document_id, reason, requested_by, requested_at, ended_at, outcome
FROM projection.requests WHERE sink = :sink ORDER BY id DESC LIMIT :most::int;

-- name: letters(sink, kind, after_id, most)
SELECT sink, kind, document_id, version, error_type, reason, failures, first_failed_at,
       last_failed_at, count(*) OVER () AS all_letters
FROM projection.dead_letters
WHERE sink = :sink AND (:kind::text IS NULL OR kind = :kind::text)
  AND document_id > :after_id::bigint
ORDER BY document_id, kind
LIMIT :most::int;

-- name: letter(sink, document_id)
SELECT sink, kind, document_id, version, error_type, reason, failures, first_failed_at,
       last_failed_at, 1 AS all_letters
FROM projection.dead_letters WHERE sink = :sink AND document_id = :document_id::bigint;
