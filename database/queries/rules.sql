-- What policy sets, read by every process that decides.

-- name: all_grants()
SELECT client, action, scope, institution FROM ledger.grants

-- name: all_scheme_grants()
SELECT client, scheme FROM ledger.scheme_grants

-- name: all_step_up_policies()
SELECT currency, threshold, first_payment_threshold, daily_total FROM ledger.step_up_policies

-- name: all_limits()
SELECT client, method, name, switched_off, per_s, burst, window_s, payees, identifiers, revision
FROM ledger.limits
