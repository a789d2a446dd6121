-- A name of the world outside belongs to one account for ever, so that whoever may link names of a
-- scheme may take any of them: each scheme is given to the clients that know whose its names are.

CREATE TABLE ledger.scheme_grants (
  client text NOT NULL,
  scheme text NOT NULL,
  PRIMARY KEY (client, scheme),
  CONSTRAINT scheme_grants_scheme CHECK (scheme ~ '^[a-z0-9_-]{1,32}$')
);
COMMENT ON TABLE ledger.scheme_grants IS
  'Which clients may link names of which schemes, to accounts that their LINK_IDENTIFIER reaches.';

CREATE TRIGGER audit_policy AFTER INSERT OR UPDATE OR DELETE ON ledger.scheme_grants
  FOR EACH ROW EXECUTE FUNCTION ledger.audit_policy('SCHEME_GRANT', 'client');
ALTER TABLE ledger.scheme_grants ENABLE ALWAYS TRIGGER audit_policy;
-- TRUNCATE has no rows to audit.
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON ledger.scheme_grants
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.scheme_grants ENABLE ALWAYS TRIGGER never_truncated;

GRANT SELECT ON ledger.scheme_grants TO paycore_command, paycore_audit;
