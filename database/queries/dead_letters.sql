-- Dead letters that operators want taken again or forgotten, as role paycore_projector.

-- name: next_letters(sink, kind, document_id, after_id, most)
SELECT document_id
FROM projection.dead_letters
WHERE sink = :sink AND kind = :kind AND document_id > :after_id::bigint
  AND (:document_id::bigint IS NULL OR document_id = :document_id::bigint)
ORDER BY document_id
LIMIT :most::int;

-- name: discard_letters(sink, kind, document_ids)!
DELETE FROM projection.dead_letters
WHERE sink = :sink AND kind = :kind AND document_id = ANY (:document_ids::bigint[]);

-- name: discard_asked(sink, kind, document_id)
DELETE FROM projection.dead_letters
WHERE sink = :sink AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:document_id::bigint IS NULL OR document_id = :document_id::bigint)
RETURNING document_id;
