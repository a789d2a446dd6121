-- The signing service's queries. Whoever counts a user's attempts holds the lock of the user's row
-- in attempt_counters, and reads what it decides on in a later statement than the lock.

-- name: check_ready()^
SELECT
  EXISTS (SELECT FROM signing.pins), EXISTS (SELECT FROM signing.attempt_counters),
  EXISTS (SELECT FROM signing.attempts), EXISTS (SELECT FROM signing.authorizations)

-- name: add_counter(user_id)!
INSERT INTO signing.attempt_counters (user_id) VALUES (:user_id) ON CONFLICT DO NOTHING

-- name: lock_counter(user_id)^
SELECT failures, cleared, lockouts, locked_until_us
FROM signing.attempt_counters
WHERE user_id = :user_id
FOR UPDATE

-- name: read_situation(user_id, proof, abandoned_after_us)^
-- All that a reservation depends on, with the time at which it was so.
SELECT
  clock.now_us,
  (SELECT count(*) FROM signing.attempts
   WHERE user_id = :user_id AND verdict IS NULL) AS pending,
  (SELECT count(*) FROM signing.attempts
   WHERE user_id = :user_id AND verdict IS NULL
     AND started_at_us < clock.now_us - :abandoned_after_us::bigint) AS abandoned,
  attempt.id AS attempt_id,
  attempt.verdict,
  attempt.attempts_left,
  attempt.locked_until_us,
  pin.encoded_hash,
  pin.pepper_id
FROM (SELECT signing.now_us() AS now_us) AS clock
LEFT JOIN signing.attempts AS attempt ON attempt.proof = :proof
LEFT JOIN signing.pins AS pin ON pin.user_id = :user_id

-- name: save_counter(user_id, failures, cleared, lockouts, locked_until_us)!
UPDATE signing.attempt_counters
SET failures = :failures, cleared = :cleared, lockouts = :lockouts,
    locked_until_us = :locked_until_us
WHERE user_id = :user_id

-- name: abandon(user_id, started_before_us, attempts_left, locked_until_us)!
UPDATE signing.attempts
SET verdict = 'ABANDONED', attempts_left = :attempts_left, locked_until_us = :locked_until_us
WHERE user_id = :user_id AND verdict IS NULL AND started_at_us < :started_before_us

-- name: reserve(proof, user_id, digest, failures_before, fresh_until_us)$
INSERT INTO signing.attempts (proof, user_id, digest, failures_before, fresh_until_us)
VALUES (:proof, :user_id, :digest, :failures_before, :fresh_until_us)
RETURNING id

-- name: read_attempt(attempt_id)^
SELECT attempt.verdict, attempt.attempts_left, attempt.locked_until_us,
       attempt.failures_before, signing.now_us() AS now_us
FROM signing.attempts AS attempt
WHERE attempt.id = :attempt_id

-- name: decide(attempt_id, verdict, attempts_left, locked_until_us)$
UPDATE signing.attempts
SET verdict = :verdict::signing.verdict, attempts_left = :attempts_left,
    locked_until_us = :locked_until_us
WHERE id = :attempt_id AND verdict IS NULL
RETURNING id

-- name: record_authorization(digest, id, signed_at_us, issued_at_us, expires_at_us, user_id, method, key_id, signature)!
INSERT INTO signing.authorizations
  (digest, id, signed_at_us, issued_at_us, expires_at_us, user_id, method, key_id, signature)
VALUES
  (:digest, :id, :signed_at_us, :issued_at_us, :expires_at_us, :user_id, :method, :key_id,
   :signature)
ON CONFLICT (digest) DO NOTHING

-- name: find_authorization(digest)^
SELECT digest, id, signed_at_us, issued_at_us, expires_at_us, user_id, method, key_id, signature
FROM signing.authorizations
WHERE digest = :digest

-- name: find_enrolment(user_id)^
SELECT enrolled_at_us, proof FROM signing.pins WHERE user_id = :user_id

-- name: enrol(user_id, pepper_id, encoded_hash, proof)$
INSERT INTO signing.pins (user_id, pepper_id, encoded_hash, proof)
VALUES (:user_id, :pepper_id, :encoded_hash, :proof)
ON CONFLICT (user_id) DO NOTHING
RETURNING enrolled_at_us

-- name: clear_counter(user_id)!
-- Guesses at a PIN that did not exist yet say nothing about the one that does now.
UPDATE signing.attempt_counters
SET cleared = failures, lockouts = 0, locked_until_us = 0
WHERE user_id = :user_id

-- name: remove_stale(margin_us, most)$
-- Verdicts whose proof every process has long held to be too old. The bound stands in a query of its
-- own: an index is not searched by a volatile function, but by what it gave once.
WITH removed AS (
  DELETE FROM signing.attempts
  WHERE proof = ANY (ARRAY(
    SELECT proof FROM signing.attempts
    WHERE verdict IS NOT NULL
      AND fresh_until_us < (SELECT signing.now_us() - :margin_us::bigint)
    ORDER BY fresh_until_us
    LIMIT :most
    FOR UPDATE SKIP LOCKED
  ))
  RETURNING 1
)
SELECT count(*) FROM removed
