-- A reservation took six round trips. Nearly all are of users about whom nothing is open: those take
-- one, for as many users as wait.

CREATE FUNCTION signing.reserve_each(
  users text[], proofs bytea[], digests bytea[], fresh_until_us bigint[]
) RETURNS TABLE (
  place bigint, attempt_id bigint, encoded_hash text, pepper_id text, pin_proof bytea
)
  LANGUAGE plpgsql SET search_path = ''
AS $$
#variable_conflict use_column
-- One attempt of each of `users` for the proof at its place, where no failure counts, no lock holds,
-- no attempt is without a verdict and the proof has none. Of all others nothing is returned or
-- written, nor of a user's second place.
DECLARE
  spotless text[];
BEGIN
  -- In an order that all processes share; what follows sees what earlier holders have committed.
  spotless := ARRAY(
    SELECT held.user_id
    FROM (
      SELECT user_id
      FROM signing.attempt_counters
      WHERE user_id = ANY (users) AND failures = cleared AND locked_until_us <= signing.now_us()
      ORDER BY user_id
      FOR UPDATE
    ) AS held
  );
  RETURN QUERY
    WITH asked AS MATERIALIZED (
      SELECT DISTINCT ON (one.user_id) one.*
      FROM unnest(users, proofs, digests, reserve_each.fresh_until_us)
        WITH ORDINALITY AS one (user_id, proof, digest, fresh_until_us, place)
      WHERE one.user_id = ANY (spotless)
      ORDER BY one.user_id, one.place
    ), reserved AS (
      INSERT INTO signing.attempts (proof, user_id, digest, failures_before, fresh_until_us)
      SELECT asked.proof, asked.user_id, asked.digest, counter.failures, asked.fresh_until_us
      FROM asked
      JOIN signing.attempt_counters AS counter ON counter.user_id = asked.user_id
      WHERE NOT EXISTS (
          SELECT FROM signing.attempts AS pending
          WHERE pending.user_id = asked.user_id AND pending.verdict IS NULL)
        AND NOT EXISTS (
          SELECT FROM signing.attempts AS earlier WHERE earlier.proof = asked.proof)
      RETURNING id, user_id
    )
    SELECT asked.place, reserved.id, pin.encoded_hash, pin.pepper_id, pin.proof
    FROM reserved
    JOIN asked ON asked.user_id = reserved.user_id
    LEFT JOIN signing.pins AS pin
      ON pin.user_id = reserved.user_id AND pin.reset_at_us IS NULL;
END
$$;
REVOKE ALL ON FUNCTION signing.reserve_each(text[], bytea[], bytea[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION signing.reserve_each(text[], bytea[], bytea[], bigint[])
  TO paycore_signing;
