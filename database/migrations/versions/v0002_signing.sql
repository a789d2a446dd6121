-- The signing service's own: PINs (only as peppered argon2id), attempts, authorizations. No other
-- service's role can see it. Times are microseconds since 1970 (suffix _us) by this database's
-- clock, so that processes on several hosts agree about locks.

CREATE SCHEMA signing;

CREATE TYPE signing.verdict AS ENUM ('CORRECT', 'INCORRECT', 'ABANDONED');
COMMENT ON TYPE signing.verdict IS
  'ABANDONED: reserved, and no verdict came (a crash); it counts as a failure.';

CREATE FUNCTION signing.now_us() RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL SAFE
  RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

CREATE TABLE signing.pins (
  user_id        text   PRIMARY KEY CHECK (length(user_id) BETWEEN 1 AND 128),
  enrolled_at_us bigint NOT NULL DEFAULT signing.now_us(),
  pepper_id      text   NOT NULL CHECK (length(pepper_id) BETWEEN 1 AND 64),
  encoded_hash   text   NOT NULL CHECK (encoded_hash LIKE '$argon2id$%'),
  proof          bytea  NOT NULL CHECK (length(proof) = 32)
);
COMMENT ON COLUMN signing.pins.encoded_hash IS
  'argon2id with its parameters and salt, over an HMAC by the pepper that only the keystore holds.';
COMMENT ON COLUMN signing.pins.proof IS
  'SHA-256 of the sealed PIN: the same enrolment sent again gets the same answer.';

-- The row that is locked while a user's attempts are counted. It exists for users without a PIN
-- too, so that they cannot be told apart.
CREATE TABLE signing.attempt_counters (
  user_id         text    PRIMARY KEY CHECK (length(user_id) BETWEEN 1 AND 128),
  failures        bigint  NOT NULL DEFAULT 0,
  cleared         bigint  NOT NULL DEFAULT 0,
  lockouts        integer NOT NULL DEFAULT 0 CHECK (lockouts >= 0),
  locked_until_us bigint  NOT NULL DEFAULT 0 CHECK (locked_until_us >= 0),
  CONSTRAINT attempt_counters_bounded CHECK (failures - cleared BETWEEN 0 AND 4)
) WITH (fillfactor = 70);
COMMENT ON COLUMN signing.attempt_counters.failures IS 'Failures ever recorded.';
COMMENT ON COLUMN signing.attempt_counters.cleared IS
  'How many of them a later success, or the lock that they led to, has settled.';
COMMENT ON COLUMN signing.attempt_counters.lockouts IS 'Locks since the last success.';

-- One row per sealed proof that was, or is being, evaluated. Without a verdict it is a reservation:
-- committed before the PIN is checked, so that no crash and no parallel call gives a guess for free.
-- Rows are removed once their proof is too old to be accepted.
CREATE TABLE signing.attempts (
  proof           bytea  PRIMARY KEY CHECK (length(proof) = 32),
  id              bigint NOT NULL UNIQUE GENERATED ALWAYS AS IDENTITY,
  failures_before bigint NOT NULL,
  started_at_us   bigint NOT NULL DEFAULT signing.now_us(),
  fresh_until_us  bigint NOT NULL,
  locked_until_us bigint,
  attempts_left   integer,
  verdict         signing.verdict,
  user_id         text   NOT NULL,
  digest          bytea  NOT NULL CHECK (length(digest) = 32),
  CONSTRAINT attempts_decided_whole CHECK (
    (verdict IS NULL) = (attempts_left IS NULL) AND (verdict IS NULL) = (locked_until_us IS NULL))
);
CREATE INDEX attempts_pending ON signing.attempts (user_id) WHERE verdict IS NULL;
CREATE INDEX attempts_fresh_until ON signing.attempts (fresh_until_us) WHERE verdict IS NOT NULL;
COMMENT ON COLUMN signing.attempts.failures_before IS
  'The counter''s failures at the reservation: all that a success of this attempt clears.';

-- What was signed, once per digest and for ever.
CREATE TABLE signing.authorizations (
  digest        bytea  PRIMARY KEY CHECK (length(digest) = 32),
  id            bigint NOT NULL UNIQUE,
  signed_at_us  bigint NOT NULL,
  issued_at_us  bigint NOT NULL,
  expires_at_us bigint NOT NULL CHECK (expires_at_us > issued_at_us),
  user_id       text   NOT NULL CHECK (length(user_id) BETWEEN 1 AND 128),
  method        text   NOT NULL CHECK (method IN ('PIN')),
  key_id        text   NOT NULL,
  signature     bytea  NOT NULL CHECK (length(signature) = 64)
);
COMMENT ON COLUMN signing.authorizations.id IS 'The id of the attempt that earned it.';

CREATE FUNCTION signing.refuse_change() RETURNS trigger
  LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
  RAISE EXCEPTION 'signing.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER authorizations_append_only
  BEFORE UPDATE OR DELETE OR TRUNCATE ON signing.authorizations
  FOR EACH STATEMENT EXECUTE FUNCTION signing.refuse_change();
ALTER TABLE signing.authorizations ENABLE ALWAYS TRIGGER authorizations_append_only;

GRANT USAGE ON SCHEMA signing TO paycore_signing;
GRANT SELECT, INSERT ON signing.pins, signing.authorizations TO paycore_signing;
GRANT SELECT, INSERT ON signing.attempt_counters, signing.attempts TO paycore_signing;
GRANT UPDATE (failures, cleared, lockouts, locked_until_us)
  ON signing.attempt_counters TO paycore_signing;
GRANT UPDATE (verdict, attempts_left, locked_until_us) ON signing.attempts TO paycore_signing;
GRANT DELETE ON signing.attempts TO paycore_signing;
REVOKE ALL ON FUNCTION signing.now_us(), signing.refuse_change() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION signing.now_us() TO paycore_signing;
