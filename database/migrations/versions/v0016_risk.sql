-- squawk-disable-assume-in-transaction
-- Reversals that found too little money, by the transfer that they would have undone. A build that
-- failed leaves an index that is not valid: away with it first.

DROP INDEX CONCURRENTLY IF EXISTS ledger.declines_short_reversals;
CREATE INDEX CONCURRENTLY IF NOT EXISTS declines_short_reversals
  ON ledger.declines (parent_id, id DESC)
  WHERE kind = 'REVERSAL' AND reason = 'INSUFFICIENT_FUNDS';

-- By which rules payments are judged before they are posted, where the command service is set to
-- judge by rules. A currency without a row is not judged, nor by a rule whose figure is null.
CREATE TABLE IF NOT EXISTS ledger.risk_rules (
  currency           text PRIMARY KEY,
  daily_limit        bigint,
  daily_decision     text NOT NULL DEFAULT 'REVIEW',
  new_payee_above    bigint,
  new_payee_decision text NOT NULL DEFAULT 'REVIEW',
  CONSTRAINT risk_rules_currency_code CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT risk_rules_not_negative CHECK (daily_limit >= 0 AND new_payee_above >= 0),
  CONSTRAINT risk_rules_decisions CHECK (
    daily_decision IN ('DECLINE', 'REVIEW') AND new_payee_decision IN ('DECLINE', 'REVIEW'))
);
COMMENT ON COLUMN ledger.risk_rules.daily_limit IS
  'What a payer may pay in a day of UTC, in minor units; what exceeds it is decided so.';
COMMENT ON COLUMN ledger.risk_rules.new_payee_above IS
  'Above this many minor units a first payment to a payee is decided so.';
GRANT SELECT ON ledger.risk_rules TO paycore_command, paycore_audit;
