-- What the world outside calls an account, what its client told of it, and an audit that the tables
-- write themselves: no change of a status, a limit, a name, a grant or a policy goes without a row of
-- it, whoever makes the change and however.

CREATE TABLE ledger.external_identifiers (
  account       bigint NOT NULL REFERENCES ledger.accounts (id),
  created_at_us bigint NOT NULL,
  scheme        text   NOT NULL,
  value         text   NOT NULL,
  PRIMARY KEY (scheme, value),
  CONSTRAINT external_identifiers_one_of_each UNIQUE (account, scheme),
  CONSTRAINT external_identifiers_bounded CHECK (
    scheme ~ '^[a-z0-9_-]{1,32}$' AND length(value) BETWEEN 1 AND 128)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.external_identifiers
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.external_identifiers ENABLE ALWAYS TRIGGER append_only;

-- Personal data of an account, apart so that the rows that postings touch stay small and it can be
-- erased: a row may go, but what it says never changes.
CREATE TABLE ledger.account_details (
  id       bigint PRIMARY KEY,
  metadata jsonb NOT NULL CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE TRIGGER never_changed BEFORE UPDATE OR TRUNCATE ON ledger.account_details
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.account_details ENABLE ALWAYS TRIGGER never_changed;

GRANT SELECT ON ledger.external_identifiers, ledger.account_details
  TO paycore_command, paycore_audit;
GRANT SELECT ON ledger.external_identifiers TO paycore_query;
GRANT INSERT ON ledger.external_identifiers, ledger.account_details TO paycore_command;
GRANT UPDATE (overdraft_limit) ON ledger.accounts TO paycore_command;

-- A service says for whom it acts in settings of its transaction: paycore.client, .user_id,
-- .device_id, .ip_address, .reason. Without them it is a session of its own that changes something,
-- and its user stands for the client. The session's user is recorded either way.
ALTER TABLE ledger.audit ADD COLUMN database_user text;
COMMENT ON COLUMN ledger.audit.database_user IS
  'The role whose session made the change; NULL in rows that services wrote themselves.';
REVOKE INSERT ON ledger.audit FROM paycore_command;

CREATE SEQUENCE ledger.audit_id AS bigint;
COMMENT ON COLUMN ledger.audit.id IS
  'A Snowflake where the service gave one (paycore.audit_id), good for one row. Else the next of a'
  ' sequence, which a database session can draw without a lease: it counts from 1 and can never reach'
  ' the Snowflakes, of which the smallest of a single day of use is above 10^14.';

CREATE FUNCTION ledger.write_audit(action text, subject text, before jsonb, after jsonb)
  RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  named text := nullif(current_setting('paycore.client', true), '');
  given bigint := nullif(current_setting('paycore.audit_id', true), '');
BEGIN
  IF given IS NOT NULL THEN
    PERFORM set_config('paycore.audit_id', '', true);
  END IF;
  INSERT INTO ledger.audit (
    id, created_at_us, client, action, subject, before, after, reason, user_id, device_id,
    ip_address, database_user
  )
  VALUES (
    coalesce(given, nextval('ledger.audit_id')),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    coalesce(named, session_user), action, subject, before, after,
    nullif(current_setting('paycore.reason', true), ''),
    nullif(current_setting('paycore.user_id', true), ''),
    nullif(current_setting('paycore.device_id', true), ''),
    CASE WHEN named IS NULL THEN host(inet_client_addr())
         ELSE nullif(current_setting('paycore.ip_address', true), '') END,
    session_user
  );
END
$$;

-- So that the changes of an account have an order, whoever makes them. It is not raised for who forgot
-- it: a trigger before each row would cost the postings, which change these rows too.
CREATE FUNCTION ledger.check_revision(before bigint, after bigint) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF after IS DISTINCT FROM before + 1 THEN
    RAISE EXCEPTION 'a change of an account raises its revision from % to %', before, before + 1
      USING ERRCODE = 'check_violation';
  END IF;
END
$$;

CREATE FUNCTION ledger.audit_status() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM ledger.check_revision(OLD.revision, NEW.revision);
  PERFORM ledger.write_audit(
    'SET_STATUS', 'account/' || NEW.id,
    jsonb_build_object('status', OLD.status, 'revision', OLD.revision),
    jsonb_build_object('status', NEW.status, 'revision', NEW.revision));
  RETURN NULL;
END
$$;

-- The version says up to which entry the limit before held, and from which on the limit after.
CREATE FUNCTION ledger.audit_limit() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    PERFORM ledger.check_revision(OLD.revision, NEW.revision);
  END IF;
  PERFORM ledger.write_audit(
    'SET_OVERDRAFT_LIMIT', 'account/' || NEW.id,
    CASE WHEN TG_OP = 'UPDATE' THEN jsonb_build_object(
      'overdraft_limit', OLD.overdraft_limit, 'revision', OLD.revision, 'version', OLD.version) END,
    jsonb_build_object(
      'overdraft_limit', NEW.overdraft_limit, 'revision', NEW.revision, 'version', NEW.version));
  RETURN NULL;
END
$$;

CREATE FUNCTION ledger.audit_identifier() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM ledger.write_audit(
    'LINK_IDENTIFIER', 'account/' || NEW.account, NULL,
    jsonb_build_object('scheme', NEW.scheme, 'value', NEW.value));
  RETURN NULL;
END
$$;

-- Its arguments: what a row is, and the column that names it.
CREATE FUNCTION ledger.audit_policy() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  before jsonb := to_jsonb(OLD);
  after jsonb := to_jsonb(NEW);
BEGIN
  PERFORM ledger.write_audit(
    CASE TG_OP WHEN 'INSERT' THEN 'ADD_' WHEN 'UPDATE' THEN 'CHANGE_' ELSE 'REMOVE_' END
      || TG_ARGV[0],
    lower(TG_ARGV[0]) || '/' || (coalesce(after, before) ->> TG_ARGV[1]),
    before, after);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION ledger.check_revision, ledger.write_audit, ledger.audit_status, ledger.audit_limit,
  ledger.audit_identifier, ledger.audit_policy FROM PUBLIC;

-- By column, so that postings, which write none of these, do not meet them. An account born with a
-- limit got one.
CREATE TRIGGER audit_status AFTER UPDATE OF status ON ledger.accounts
  FOR EACH ROW EXECUTE FUNCTION ledger.audit_status();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER audit_status;
CREATE TRIGGER audit_limit AFTER UPDATE OF overdraft_limit ON ledger.accounts
  FOR EACH ROW EXECUTE FUNCTION ledger.audit_limit();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER audit_limit;
CREATE TRIGGER audit_first_limit AFTER INSERT ON ledger.accounts
  FOR EACH ROW WHEN (NEW.overdraft_limit <> 0) EXECUTE FUNCTION ledger.audit_limit();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER audit_first_limit;

CREATE TRIGGER audit_identifier AFTER INSERT ON ledger.external_identifiers
  FOR EACH ROW EXECUTE FUNCTION ledger.audit_identifier();
ALTER TABLE ledger.external_identifiers ENABLE ALWAYS TRIGGER audit_identifier;

CREATE TRIGGER audit_policy AFTER INSERT OR UPDATE OR DELETE ON ledger.grants
  FOR EACH ROW EXECUTE FUNCTION ledger.audit_policy('GRANT', 'client');
ALTER TABLE ledger.grants ENABLE ALWAYS TRIGGER audit_policy;
CREATE TRIGGER audit_policy AFTER INSERT OR UPDATE OR DELETE ON ledger.step_up_policies
  FOR EACH ROW EXECUTE FUNCTION ledger.audit_policy('STEP_UP_POLICY', 'currency');
ALTER TABLE ledger.step_up_policies ENABLE ALWAYS TRIGGER audit_policy;
CREATE TRIGGER audit_policy AFTER INSERT OR UPDATE OR DELETE ON ledger.risk_rules
  FOR EACH ROW EXECUTE FUNCTION ledger.audit_policy('RISK_RULE', 'currency');
ALTER TABLE ledger.risk_rules ENABLE ALWAYS TRIGGER audit_policy;

-- TRUNCATE has no rows to audit.
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.grants
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.grants ENABLE ALWAYS TRIGGER never_truncated;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.step_up_policies
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.step_up_policies ENABLE ALWAYS TRIGGER never_truncated;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.risk_rules
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.risk_rules ENABLE ALWAYS TRIGGER never_truncated;

-- Closed is closed, and revisions count: readers go by them.
CREATE TRIGGER closed_for_good BEFORE UPDATE OF status ON ledger.accounts
  FOR EACH ROW WHEN (OLD.status = 'CLOSED' AND NEW.status <> 'CLOSED')
  EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER closed_for_good;
CREATE TRIGGER revision_by_one BEFORE UPDATE OF revision ON ledger.accounts
  FOR EACH ROW WHEN (NEW.revision <> OLD.revision + 1)
  EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.accounts ENABLE ALWAYS TRIGGER revision_by_one;
