-- Limits as data: what is set here overrides the file of limits and the defaults, place by place, in
-- every process within seconds. A client, or a method, that there is none of harms nobody.

CREATE TABLE ledger.limits (
  client       text NOT NULL,
  method       text NOT NULL,
  name         text NOT NULL,
  switched_off boolean NOT NULL,
  per_s        double precision,
  burst        bigint,
  window_s     bigint,
  payees       bigint,
  identifiers  bigint,
  revision     bigint NOT NULL DEFAULT nextval('ledger.policy_revision'),
  PRIMARY KEY (client, method, name),
  CONSTRAINT limits_client_bounded CHECK (length(client) <= 128),
  CONSTRAINT limits_name_known
    CHECK (name IN ('client', 'address', 'user', 'device', 'velocity')),
  CONSTRAINT limits_method_of_client CHECK (
    method = ''
    OR client <> '' AND name <> 'velocity'
      AND method ~ '^[A-Za-z0-9_.]{1,128}/[A-Za-z0-9]{1,64}$'),
  CONSTRAINT limits_one_setting CHECK (
    CASE
      WHEN switched_off THEN num_nonnulls(per_s, burst, window_s, payees, identifiers) = 0
      WHEN name = 'velocity'
        THEN num_nonnulls(per_s, burst) = 0 AND num_nulls(window_s, payees, identifiers) = 0
      ELSE num_nulls(per_s, burst) = 0 AND num_nonnulls(window_s, payees, identifiers) = 0
    END),
  CONSTRAINT limits_rate_bounded CHECK (
    per_s > 0 AND per_s < 1e9 AND burst BETWEEN 1 AND 1000000000 AND burst <= per_s * 86400),
  CONSTRAINT limits_velocity_bounded CHECK (
    window_s BETWEEN 1 AND 86400 AND payees BETWEEN 1 AND 1000 AND identifiers BETWEEN 1 AND 1000)
);
COMMENT ON COLUMN ledger.limits.client IS 'Empty for every client of whom nothing else is said.';
COMMENT ON COLUMN ledger.limits.method IS
  'package.Service/Method, whose calls then count apart; empty for all of them.';
COMMENT ON COLUMN ledger.limits.switched_off IS 'There is no such limit.';
COMMENT ON COLUMN ledger.limits.per_s IS 'Units a second.';
COMMENT ON COLUMN ledger.limits.burst IS 'Units at once: what comes back within a day.';
COMMENT ON COLUMN ledger.limits.window_s IS
  'Seconds within which a device may touch so many different payees and identifiers.';
COMMENT ON COLUMN ledger.limits.revision IS 'Taken anew by every change, as that of step_up_policies.';

CREATE FUNCTION ledger.audit_limit_setting() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  before jsonb := to_jsonb(OLD);
  after jsonb := to_jsonb(NEW);
  said jsonb := coalesce(after, before);
BEGIN
  PERFORM ledger.write_audit(
    CASE TG_OP WHEN 'INSERT' THEN 'ADD_' WHEN 'UPDATE' THEN 'CHANGE_' ELSE 'REMOVE_' END || 'LIMIT',
    concat_ws('/', 'limit', coalesce(nullif(said ->> 'client', ''), '*'),
              nullif(said ->> 'method', ''), said ->> 'name'),
    before, after);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION ledger.audit_limit_setting FROM PUBLIC;

CREATE TRIGGER audit_policy AFTER INSERT OR UPDATE OR DELETE ON ledger.limits
  FOR EACH ROW EXECUTE FUNCTION ledger.audit_limit_setting();
ALTER TABLE ledger.limits ENABLE ALWAYS TRIGGER audit_policy;
-- TRUNCATE has no rows to audit.
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.limits
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.limits ENABLE ALWAYS TRIGGER never_truncated;

GRANT SELECT ON ledger.limits TO paycore_command, paycore_audit;
GRANT INSERT,
  UPDATE (switched_off, per_s, burst, window_s, payees, identifiers, revision),
  DELETE
  ON ledger.limits TO paycore_command;
