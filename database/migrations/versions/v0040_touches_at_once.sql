-- What ledger.touch does, for many devices by the same few statements.

CREATE FUNCTION ledger.touch_each(
  devices bytea[], kind text, subjects bytea[], most int, window_s int
) RETURNS bigint[]
  LANGUAGE plpgsql SET search_path = ''
AS $$
-- Notes that each of `devices` touches the subject at its place, each by itself: what ledger.touch
-- returns, in the same order. Devices must come in the same order everywhere, for each is locked.
DECLARE
  window_us constant bigint := window_s::bigint * 1000000;
  now_us bigint;
  waits_ms bigint[];
BEGIN
  -- No payment can be durable while this is not: it commits later in the same log.
  PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
  IF (SELECT count(DISTINCT d) FROM pg_catalog.unnest(devices) AS d) < cardinality(devices) THEN
    -- What one touch of a device adds, the next of it must see.
    FOR place IN 1 .. cardinality(devices) LOOP
      waits_ms[place] := ledger.touch(
        devices[place], kind, subjects[place : place], most, window_s);
    END LOOP;
    RETURN waits_ms;
  END IF;
  -- One at a time for each device; statements from here on see what the others have committed.
  PERFORM pg_catalog.pg_advisory_xact_lock(ledger.device_lock(d))
    FROM pg_catalog.unnest(devices) AS d;
  now_us := (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint;
  WITH standing AS MATERIALIZED (
    SELECT one.place, one.device, one.subject, before.others, before.known
    FROM unnest(devices, subjects) WITH ORDINALITY AS one (device, subject, place)
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE t.subject <> one.subject) AS others,
             count(*) FILTER (WHERE t.subject = one.subject) AS known
      FROM ledger.device_touches AS t
      WHERE t.device = one.device AND t.kind = touch_each.kind AND t.seen_us > now_us - window_us
    ) AS before
  ), noted AS (
    INSERT INTO ledger.device_touches AS t (device, kind, subject, seen_us)
      SELECT s.device, touch_each.kind, s.subject, now_us
      FROM standing AS s
      WHERE s.known > 0 OR s.others < most
      ON CONFLICT ON CONSTRAINT device_touches_pkey DO UPDATE SET seen_us = excluded.seen_us
  )
  SELECT pg_catalog.array_agg(
    CASE WHEN s.known > 0 OR s.others < most THEN 0 ELSE (
      SELECT greatest(1, (coalesce(min(room.seen_us), now_us) + window_us - now_us) / 1000)
      FROM (
        SELECT t.seen_us
        FROM ledger.device_touches AS t
        WHERE t.device = s.device AND t.kind = touch_each.kind AND t.seen_us > now_us - window_us
          AND t.subject <> s.subject
        ORDER BY t.seen_us
        OFFSET s.others - most LIMIT 1
      ) AS room
    ) END ORDER BY s.place)
    INTO waits_ms
    FROM standing AS s;
  RETURN coalesce(waits_ms, '{}');
END
$$;
REVOKE ALL ON FUNCTION ledger.touch_each(bytea[], text, bytea[], int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.touch_each(bytea[], text, bytea[], int, int) TO paycore_command;
