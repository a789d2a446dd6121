-- The signing service's queries. Whoever counts a user's attempts holds the lock of the user's row
-- in attempt_counters, and reads what it decides on in a later statement than the lock.

-- name: check_ready()^
SELECT
  EXISTS (SELECT FROM signing.pins), EXISTS (SELECT FROM signing.attempt_counters),
  EXISTS (SELECT FROM signing.attempts), EXISTS (SELECT FROM signing.authorizations),
  EXISTS (SELECT FROM signing.devices), EXISTS (SELECT FROM signing.spent_challenges)

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
  pin.pepper_id,
  pin.proof AS pin_proof
FROM (SELECT signing.now_us() AS now_us) AS clock
LEFT JOIN signing.attempts AS attempt ON attempt.proof = :proof
LEFT JOIN signing.pins AS pin ON pin.user_id = :user_id AND pin.reset_at_us IS NULL

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

-- name: reserve_each(users, proofs, digests, fresh_until_us)
-- By place, from 1; those about whom more is to be known have none.
SELECT place, attempt_id, encoded_hash, pepper_id, pin_proof
FROM signing.reserve_each(
  :users::text[], :proofs::bytea[], :digests::bytea[], :fresh_until_us::bigint[])

-- name: read_attempt(attempt_id)^
-- With the PIN of now, which may be another than the one it was reserved for.
SELECT attempt.verdict, attempt.attempts_left, attempt.locked_until_us,
       attempt.failures_before, signing.now_us() AS now_us, pin.proof AS pin_proof
FROM signing.attempts AS attempt
LEFT JOIN signing.pins AS pin ON pin.user_id = attempt.user_id AND pin.reset_at_us IS NULL
WHERE attempt.id = :attempt_id

-- name: decide(attempt_id, verdict, attempts_left, locked_until_us)$
UPDATE signing.attempts
SET verdict = :verdict::signing.verdict, attempts_left = :attempts_left,
    locked_until_us = :locked_until_us
WHERE id = :attempt_id AND verdict IS NULL
RETURNING id

-- name: release(attempt_id)!
-- An attempt whose PIN could not be looked at is none.
DELETE FROM signing.attempts WHERE id = :attempt_id AND verdict IS NULL

-- name: record_authorization(digest, id, signed_at_us, issued_at_us, expires_at_us, user_id, method, key_id, signature)$
INSERT INTO signing.authorizations
  (digest, id, signed_at_us, issued_at_us, expires_at_us, user_id, method, key_id, signature)
VALUES
  (:digest, :id, :signed_at_us, :issued_at_us, :expires_at_us, :user_id, :method, :key_id,
   :signature)
ON CONFLICT (digest) DO NOTHING
RETURNING id

-- name: approve_by_pin(attempts_left, ids, pin_proofs, user_ids, digests, signed_at_us, issued_at_us, expires_at_us, key_ids, signatures)
-- What record_success does, in one statement for many users, of those whose counter stays as it is:
-- no failure is open and no lock holds. The counters are locked before anything else, in an order
-- that all processes share; what each part depends on is in the row that it locks, and is looked at
-- again in the version that it got.
WITH asked AS MATERIALIZED (
  SELECT * FROM unnest(
    :ids::bigint[], :pin_proofs::bytea[], :user_ids::text[], :digests::bytea[],
    :signed_at_us::bigint[], :issued_at_us::bigint[], :expires_at_us::bigint[], :key_ids::text[],
    :signatures::bytea[]
  ) AS asked (id, pin_proof, user_id, digest, signed_at_us, issued_at_us, expires_at_us, key_id,
    signature)
), counter AS MATERIALIZED (
  SELECT user_id, locked_until_us FROM signing.attempt_counters
  WHERE user_id = ANY(:user_ids::text[]) AND failures = cleared AND lockouts = 0
    AND locked_until_us <= signing.now_us()
  ORDER BY user_id
  FOR UPDATE
), pin AS MATERIALIZED (
  SELECT pin.user_id, pin.proof, counter.locked_until_us
  FROM counter
  JOIN signing.pins AS pin ON pin.user_id = counter.user_id
  WHERE pin.proof = ANY(:pin_proofs::bytea[]) AND pin.reset_at_us IS NULL
  FOR SHARE OF pin
), decided AS (
  UPDATE signing.attempts AS attempt
  SET verdict = 'CORRECT', attempts_left = :attempts_left, locked_until_us = pin.locked_until_us
  FROM asked
  JOIN pin ON pin.user_id = asked.user_id AND pin.proof = asked.pin_proof
  WHERE attempt.id = ANY(:ids::bigint[]) AND attempt.id = asked.id
    AND attempt.user_id = asked.user_id AND attempt.verdict IS NULL
  RETURNING attempt.id, attempt.locked_until_us
), recorded AS (
  INSERT INTO signing.authorizations
    (digest, id, signed_at_us, issued_at_us, expires_at_us, user_id, method, key_id, signature)
  SELECT asked.digest, asked.id, asked.signed_at_us, asked.issued_at_us, asked.expires_at_us,
         asked.user_id, 'PIN', asked.key_id, asked.signature
  FROM asked
  JOIN decided ON decided.id = asked.id
  ORDER BY asked.digest
  ON CONFLICT (digest) DO NOTHING
  RETURNING id
)
SELECT decided.id, decided.locked_until_us, recorded.id IS NOT NULL AS recorded
FROM decided
LEFT JOIN recorded ON recorded.id = decided.id

-- name: find_authorization(digest)^
SELECT digest, id, signed_at_us, issued_at_us, expires_at_us, user_id, method, key_id, signature
FROM signing.authorizations
WHERE digest = :digest

-- name: next_ids(most)
-- Numbers for authorizations that no attempt has: devices' are not guessed at, so none is reserved.
SELECT nextval('signing.attempts_id_seq') AS id FROM generate_series(1, :most::int)

-- name: authorize_by_device(device_ids, digests, ids, signed_at_us, issued_at_us, expires_at_us, user_ids, key_ids, signatures)
-- One statement: each device is held from the moment it was found in force until this is committed,
-- so a revocation comes either wholly before or wholly after. Rows are locked and added in an order
-- that all processes share.
WITH asked AS MATERIALIZED (
  SELECT * FROM unnest(
    :device_ids::text[], :digests::bytea[], :ids::bigint[], :signed_at_us::bigint[],
    :issued_at_us::bigint[], :expires_at_us::bigint[], :user_ids::text[], :key_ids::text[],
    :signatures::bytea[]
  ) WITH ORDINALITY AS asked (device_id, digest, id, signed_at_us, issued_at_us, expires_at_us,
    user_id, key_id, signature, place)
), device AS MATERIALIZED (
  SELECT id, user_id FROM signing.devices
  WHERE id = ANY(:device_ids::text[]) AND revoked_at_us IS NULL
  ORDER BY id
  FOR SHARE
), recorded AS (
  INSERT INTO signing.authorizations
    (digest, id, signed_at_us, issued_at_us, expires_at_us, user_id, method, key_id, signature,
     device_id)
  SELECT asked.digest, asked.id, asked.signed_at_us, asked.issued_at_us, asked.expires_at_us,
         device.user_id, 'DEVICE', asked.key_id, asked.signature, device.id
  FROM asked
  JOIN device ON device.id = asked.device_id AND device.user_id = asked.user_id
  ORDER BY asked.digest, asked.place
  ON CONFLICT (digest) DO NOTHING
  RETURNING id
)
SELECT device.id IS NOT NULL AS in_force, recorded.id IS NOT NULL AS recorded
FROM asked
LEFT JOIN device ON device.id = asked.device_id AND device.user_id = asked.user_id
LEFT JOIN recorded ON recorded.id = asked.id
ORDER BY asked.place

-- name: find_enrolment(user_id)^
SELECT enrolled_at_us, proof FROM signing.pins WHERE user_id = :user_id AND reset_at_us IS NULL

-- name: spend_enrolment(proof, user_id)$
INSERT INTO signing.spent_enrolments (proof, user_id) VALUES (:proof, :user_id)
ON CONFLICT DO NOTHING
RETURNING spent_at_us

-- name: enrol(user_id, pepper_id, encoded_hash, proof)$
INSERT INTO signing.pins AS pin (user_id, pepper_id, encoded_hash, proof)
VALUES (:user_id, :pepper_id, :encoded_hash, :proof)
ON CONFLICT (user_id) DO UPDATE
SET enrolled_at_us = signing.now_us(), pepper_id = excluded.pepper_id,
    encoded_hash = excluded.encoded_hash, proof = excluded.proof, reset_at_us = NULL
WHERE pin.reset_at_us IS NOT NULL
RETURNING enrolled_at_us

-- name: change_pin(user_id, pepper_id, encoded_hash, proof)$
UPDATE signing.pins
SET enrolled_at_us = signing.now_us(), pepper_id = :pepper_id, encoded_hash = :encoded_hash,
    proof = :proof
WHERE user_id = :user_id AND reset_at_us IS NULL
RETURNING enrolled_at_us

-- name: rehash(user_id, old_hash, pepper_id, encoded_hash)!
UPDATE signing.pins SET pepper_id = :pepper_id, encoded_hash = :encoded_hash
WHERE user_id = :user_id AND encoded_hash = :old_hash AND reset_at_us IS NULL

-- name: reset_pin(user_id)$
UPDATE signing.pins SET reset_at_us = signing.now_us()
WHERE user_id = :user_id AND reset_at_us IS NULL
RETURNING reset_at_us

-- name: spend_challenge(challenge, expires_at_us)$
INSERT INTO signing.spent_challenges (challenge, expires_at_us)
VALUES (:challenge, :expires_at_us)
ON CONFLICT DO NOTHING
RETURNING true

-- name: count_devices(user_id)$
SELECT count(*) FROM signing.devices WHERE user_id = :user_id AND revoked_at_us IS NULL

-- name: add_device(id, user_id, algorithm, public_key, vouched_by)$
INSERT INTO signing.devices (id, user_id, algorithm, public_key, vouched_by)
VALUES (:id, :user_id, :algorithm, :public_key, :vouched_by)
ON CONFLICT DO NOTHING
RETURNING true

-- name: find_device(id)^
SELECT id, user_id, algorithm, public_key, enrolled_at_us, revoked_at_us
FROM signing.devices
WHERE id = :id

-- name: devices_in_force(user_id)
SELECT id, algorithm, enrolled_at_us, vouched_by
FROM signing.devices
WHERE user_id = :user_id AND revoked_at_us IS NULL
ORDER BY enrolled_at_us, id

-- name: revoke_devices(user_id)
-- All of a user that are in force, locked in the order that all processes share.
UPDATE signing.devices SET revoked_at_us = signing.now_us()
WHERE id = ANY (ARRAY(
  SELECT id FROM signing.devices
  WHERE user_id = :user_id AND revoked_at_us IS NULL
  ORDER BY id
  FOR UPDATE
))
RETURNING id

-- name: revoke_device(id, user_id)$
UPDATE signing.devices SET revoked_at_us = signing.now_us()
WHERE id = :id AND user_id = :user_id AND revoked_at_us IS NULL
RETURNING revoked_at_us

-- name: unlock(user_id)!
-- Locks since the last success stay counted: the next one lasts as long as if this had ended by
-- itself.
UPDATE signing.attempt_counters SET cleared = failures, locked_until_us = 0
WHERE user_id = :user_id

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

-- name: remove_spent_challenges(margin_us, most)$
-- As remove_stale: a challenge is refused for its age long before it could be used again.
WITH removed AS (
  DELETE FROM signing.spent_challenges
  WHERE challenge = ANY (ARRAY(
    SELECT challenge FROM signing.spent_challenges
    WHERE expires_at_us < (SELECT signing.now_us() - :margin_us::bigint)
    ORDER BY expires_at_us
    LIMIT :most
  ))
  RETURNING 1
)
SELECT count(*) FROM removed

-- name: find_missing_keys(ids)
-- Keys that were known and are not among these.
SELECT id, purpose
FROM signing.known_keys
WHERE id <> ALL (:ids::text[])

-- name: know_keys(ids, purposes, active_from_us)!
-- Those that are new are told of by the table.
INSERT INTO signing.known_keys (id, purpose, active_from_us)
SELECT * FROM unnest(:ids::text[], :purposes::text[], :active_from_us::bigint[])
ON CONFLICT (id) DO NOTHING

-- name: use_keys(ids, purposes)!
-- Those that come into use instead of others are told of by the table.
INSERT INTO signing.keys_in_use AS used (id, purpose)
SELECT * FROM unnest(:ids::text[], :purposes::text[])
ON CONFLICT (purpose) DO UPDATE SET id = excluded.id WHERE used.id <> excluded.id

-- name: act_as(client, method, ip_address, request_id, reason)!
-- What the tables write into the security events of this transaction; an empty text stands for
-- nothing.
SELECT set_config('paycore.client', :client, true),
       set_config('paycore.method', :method, true),
       set_config('paycore.ip_address', :ip_address, true),
       set_config('paycore.request_id', :request_id, true),
       set_config('paycore.reason', :reason, true)
