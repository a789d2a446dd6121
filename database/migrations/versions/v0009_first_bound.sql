-- Everything that was written so far becomes the first partition: up to the month after next, by the
-- time in the ids. The bound is checked on its own, later, without a lock that stops the writers.

CREATE FUNCTION ledger.first_transfer_id(at timestamptz) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = ''
AS $$
  -- Snowflake ids: milliseconds since 2025-01-01 above 22 bits of instance and sequence.
  SELECT (floor(extract(epoch FROM at) * 1000)::bigint - 1735689600000) << 22
$$;
COMMENT ON FUNCTION ledger.first_transfer_id IS 'The lowest id that can be made at or after a time.';
REVOKE ALL ON FUNCTION ledger.first_transfer_id FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.first_transfer_id
  TO paycore_command, paycore_projector, paycore_query, paycore_audit;

DO $$
BEGIN
  EXECUTE format(
    'ALTER TABLE ledger.transfers ADD CONSTRAINT transfers_first_bound CHECK (id < %s) NOT VALID',
    ledger.first_transfer_id(
      date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '2 months'));
END
$$;
