-- Which payees and identifiers each device touched of late: many of them from one device is how
-- stolen cards are tried out. Rows are kept for the longest window, then a job removes them.

CREATE TABLE ledger.device_touches (
  device  bytea  NOT NULL,
  kind    text   NOT NULL,
  subject bytea  NOT NULL,
  seen_us bigint NOT NULL,
  PRIMARY KEY (device, kind, subject),
  CONSTRAINT device_touches_kind CHECK (kind IN ('PAYEE', 'IDENTIFIER')),
  CONSTRAINT device_touches_hashes CHECK (octet_length(device) = 16 AND octet_length(subject) = 16)
);
CREATE INDEX device_touches_seen ON ledger.device_touches (seen_us);
COMMENT ON COLUMN ledger.device_touches.device IS
  'Keyed hash of client and device id: devices are a client''s own, and personal data.';
COMMENT ON COLUMN ledger.device_touches.subject IS 'Keyed hash of the payee or identifier.';
COMMENT ON COLUMN ledger.device_touches.seen_us IS 'When it was last let through.';

CREATE FUNCTION ledger.device_lock(device bytea) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN ('x' || encode(substr(device, 1, 8), 'hex'))::bit(64)::bigint;
COMMENT ON FUNCTION ledger.device_lock IS
  'The advisory lock under which a device''s touches are counted, added and removed.';
REVOKE ALL ON FUNCTION ledger.device_lock FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.device_lock TO paycore_command;

CREATE FUNCTION ledger.touch(
  device bytea, kind text, subjects bytea[], most int, window_s int
) RETURNS bigint
  LANGUAGE plpgsql SET search_path = '' AS $$
-- Notes that `device` touches `subjects`, all different. 0 when they were noted; else none was, for
-- `most` different ones within `window_s` seconds would be exceeded, and the result says after how
-- many milliseconds there may be room.
DECLARE
  window_us constant bigint := window_s::bigint * 1000000;
  wanted constant int := cardinality(subjects);
  now_us bigint;
  others int;
  known int;
  room_us bigint;
BEGIN
  -- No payment can be durable while this is not: it commits later in the same log.
  PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
  -- One at a time for each device; statements from here on see what the others have committed.
  PERFORM pg_catalog.pg_advisory_xact_lock(ledger.device_lock(device));
  now_us := (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint;
  SELECT count(*) FILTER (WHERE t.subject <> ALL (subjects)),
         count(*) FILTER (WHERE t.subject = ANY (subjects))
    INTO others, known
    FROM ledger.device_touches AS t
    WHERE t.device = touch.device AND t.kind = touch.kind AND t.seen_us > now_us - window_us;
  IF wanted > known AND others + wanted > most THEN
    SELECT t.seen_us INTO room_us
      FROM ledger.device_touches AS t
      WHERE t.device = touch.device AND t.kind = touch.kind AND t.seen_us > now_us - window_us
        AND t.subject <> ALL (subjects)
      ORDER BY t.seen_us
      OFFSET others + wanted - most - 1 LIMIT 1;
    RETURN greatest(1, (coalesce(room_us, now_us) + window_us - now_us) / 1000);
  END IF;
  INSERT INTO ledger.device_touches AS t (device, kind, subject, seen_us)
    SELECT touch.device, touch.kind, one, now_us FROM pg_catalog.unnest(subjects) AS one
    ON CONFLICT ON CONSTRAINT device_touches_pkey DO UPDATE SET seen_us = excluded.seen_us;
  RETURN 0;
END
$$;
REVOKE ALL ON FUNCTION ledger.touch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.touch TO paycore_command;
GRANT SELECT, INSERT, DELETE, UPDATE (seen_us) ON ledger.device_touches TO paycore_command;
