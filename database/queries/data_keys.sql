-- The data keys of subjects, as role paycore_signing.

-- name: find_in_force(subjects)
SELECT id, subject, wrapping_key_id, wrapped
FROM signing.data_keys
WHERE subject = ANY(:subjects::text[])

-- name: add(ids, subjects, wrapping_key_ids, wrapped)
INSERT INTO signing.data_keys (id, subject, wrapping_key_id, wrapped)
SELECT * FROM unnest(
  :ids::bigint[], :subjects::text[], :wrapping_key_ids::text[], :wrapped::bytea[]
)
ON CONFLICT DO NOTHING
RETURNING id, subject, wrapping_key_id, wrapped

-- name: find(ids)
SELECT id, subject, wrapping_key_id, wrapped
FROM signing.data_keys
WHERE id = ANY(:ids::bigint[])

-- name: find_destroyed(ids)
SELECT id
FROM signing.destroyed_data_keys
WHERE id = ANY(:ids::bigint[])

-- name: forget_approvals(subject)!
-- The PIN goes, devices are revoked and their keys forgotten; the tables tell of it.
SELECT signing.forget_approvals(:subject::text)

-- name: destroy(subject)
-- The tombstone and the end of the key are one.
WITH gone AS (
  DELETE FROM signing.data_keys WHERE subject = :subject RETURNING id, subject, created_at_us
)
INSERT INTO signing.destroyed_data_keys (id, subject, created_at_us)
SELECT id, subject, created_at_us FROM gone
RETURNING id

-- name: find_destroyed_of(subject)
SELECT id
FROM signing.destroyed_data_keys
WHERE subject = :subject
ORDER BY id
