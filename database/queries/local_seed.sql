-- What the callers of the local stack may do, and from which amount on its payments need step-up.

-- name: seed_grants()!
-- The operator deposits and withdraws only by reversing what crossed the border the other way.
INSERT INTO ledger.grants (client, action, scope) VALUES
  ('app', 'TRANSFER', 'OWN'),
  ('app', 'DEPOSIT', 'OWN'),
  ('app', 'WITHDRAWAL', 'OWN'),
  ('app', 'HOLD', 'OWN'),
  ('app', 'CAPTURE', 'OWN'),
  ('app', 'RELEASE', 'OWN'),
  ('app', 'REFUND', 'OWN'),
  ('app', 'REVERSAL', 'OWN'),
  ('app', 'FEE', 'OWN'),
  ('app', 'LINK_IDENTIFIER', 'OWN'),
  ('app', 'OPEN_EXTERNAL', 'OWN'),
  ('app', 'SET_OVERDRAFT', 'OWN'),
  ('app', 'READ', 'OWN'),
  ('app', 'ACT_FOR_USERS', 'ALL'),
  ('loadtest', 'TRANSFER', 'OWN'),
  ('loadtest', 'DEPOSIT', 'OWN'),
  ('loadtest', 'WITHDRAWAL', 'OWN'),
  ('loadtest', 'HOLD', 'OWN'),
  ('loadtest', 'CAPTURE', 'OWN'),
  ('loadtest', 'RELEASE', 'OWN'),
  ('loadtest', 'REFUND', 'OWN'),
  ('loadtest', 'REVERSAL', 'OWN'),
  ('loadtest', 'FEE', 'OWN'),
  ('loadtest', 'LINK_IDENTIFIER', 'OWN'),
  ('loadtest', 'OPEN_EXTERNAL', 'OWN'),
  ('loadtest', 'SET_OVERDRAFT', 'OWN'),
  ('loadtest', 'READ', 'OWN'),
  ('loadtest', 'ACT_FOR_USERS', 'ALL'),
  ('loadtest', 'STEP_UP_EXEMPT', 'OWN'),
  ('analyst', 'READ', 'ALL'),
  ('operator', 'READ', 'ALL'),
  ('operator', 'SET_STATUS', 'ALL'),
  ('operator', 'SET_OVERDRAFT', 'ALL'),
  ('operator', 'REVERSAL', 'ALL'),
  ('operator', 'DEPOSIT', 'ALL'),
  ('operator', 'WITHDRAWAL', 'ALL'),
  ('operator', 'REVIEW', 'ALL'),
  ('operator', 'ERASE', 'ALL'),
  ('operator', 'WEBHOOKS', 'ALL')
ON CONFLICT DO NOTHING

-- name: seed_scheme_grants()!
INSERT INTO ledger.scheme_grants (client, scheme) VALUES
  ('app', 'stripe'),
  ('app', 'iban'),
  ('loadtest', 'stripe'),
  ('loadtest', 'iban')
ON CONFLICT DO NOTHING

-- name: seed_step_up_policies()!
INSERT INTO ledger.step_up_policies (currency, threshold) VALUES
  ('EUR', 100000),
  ('USD', 100000),
  ('JPY', 100000),
  ('BHD', 500000)
ON CONFLICT (currency) DO NOTHING
