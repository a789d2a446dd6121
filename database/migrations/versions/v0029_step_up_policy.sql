-- When a payer must approve is more than one threshold; a payer approves a part of a group as one; and
-- policy is changed through a service, which says for whom it acts.

CREATE SEQUENCE ledger.policy_revision AS bigint START 2;
ALTER TABLE ledger.step_up_policies
  ADD COLUMN first_payment_threshold bigint
    CONSTRAINT step_up_policies_first_is_lower
    CHECK (first_payment_threshold >= 0 AND first_payment_threshold <= threshold),
  ADD COLUMN daily_total bigint CHECK (daily_total >= 0),
  ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE ledger.step_up_policies
  ALTER COLUMN revision SET DEFAULT nextval('ledger.policy_revision');
COMMENT ON COLUMN ledger.step_up_policies.threshold IS
  'Above this many minor units a payment needs its payer''s approval.';
COMMENT ON COLUMN ledger.step_up_policies.first_payment_threshold IS
  'The same for payments to a payee that the payer has not paid before; NULL for no such rule.';
COMMENT ON COLUMN ledger.step_up_policies.daily_total IS
  'What an account may pay without approval in a day of UTC, in minor units; NULL for no such rule.';
COMMENT ON COLUMN ledger.step_up_policies.revision IS 'Taken anew by every change: never twice the same, also where a policy was removed in between.';

-- squawk-ignore ban-drop-not-null
ALTER TABLE ledger.authorizations ALTER COLUMN transfer_id DROP NOT NULL;
ALTER TABLE ledger.authorizations
  ADD COLUMN group_id bigint,
  ADD COLUMN payer bigint,
  ADD CONSTRAINT authorizations_of_one CHECK (
    (transfer_id IS NULL) = (group_id IS NOT NULL) AND (group_id IS NULL) = (payer IS NULL))
    NOT VALID;
COMMENT ON COLUMN ledger.authorizations.group_id IS
  'The group of which it approves all that `payer` pays; then there is no single transfer.';

-- A change of policy has a key like every command, and no row of its own beside the audit.
ALTER TYPE ledger.outcome_kind ADD VALUE 'POLICY';

GRANT USAGE ON SEQUENCE ledger.policy_revision TO paycore_command;
GRANT INSERT, UPDATE (threshold, first_payment_threshold, daily_total, revision), DELETE
  ON ledger.step_up_policies TO paycore_command;
GRANT INSERT, DELETE ON ledger.grants, ledger.scheme_grants TO paycore_command;
