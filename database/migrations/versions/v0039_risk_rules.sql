-- Rules of risk are changed through a service, as policies are.

ALTER TABLE ledger.risk_rules ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE ledger.risk_rules
  ALTER COLUMN revision SET DEFAULT nextval('ledger.policy_revision');
COMMENT ON COLUMN ledger.risk_rules.revision IS
  'Taken anew by every change, as that of step_up_policies.';

GRANT INSERT,
  UPDATE (daily_limit, daily_decision, new_payee_above, new_payee_decision, revision),
  DELETE
  ON ledger.risk_rules TO paycore_command;
