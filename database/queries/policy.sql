-- Changing when payers must approve, what clients may do, how much they may ask, and by which rules of
-- risk payments are judged. The tables write the audit.

-- name: take_turn()$
-- Changes of policy come one after the other: there are few, and each is read before it is made.
SELECT pg_advisory_xact_lock(hashtextextended('paycore.policy', 0))

-- name: all_policies()
SELECT currency, threshold, first_payment_threshold, daily_total, revision
FROM ledger.step_up_policies
ORDER BY currency

-- name: find_policy(currency)^
SELECT currency, threshold, first_payment_threshold, daily_total, revision
FROM ledger.step_up_policies
WHERE currency = :currency

-- name: set_policy(currency, threshold, first_payment_threshold, daily_total)$
INSERT INTO ledger.step_up_policies (currency, threshold, first_payment_threshold, daily_total)
VALUES (:currency, :threshold::bigint, :first_payment_threshold::bigint, :daily_total::bigint)
ON CONFLICT (currency) DO UPDATE
SET threshold = excluded.threshold, first_payment_threshold = excluded.first_payment_threshold,
    daily_total = excluded.daily_total, revision = nextval('ledger.policy_revision')
RETURNING revision

-- name: remove_policy(currency)$
DELETE FROM ledger.step_up_policies WHERE currency = :currency RETURNING revision

-- name: list_grants(client, after_client, after_kind, after_what, after_scope, after_institution, most)
-- Those of accounts and of schemes, in one order; of all clients where none is given.
SELECT client, kind, what, scope, institution
FROM (
  SELECT client, 'ACCOUNTS' AS kind, action::text AS what, scope::text AS scope, institution
  FROM ledger.grants
  UNION ALL
  SELECT client, 'SCHEME', scheme, '', '' FROM ledger.scheme_grants
) AS held
WHERE (:client::text = '' OR client = :client::text)
  AND (client, kind, what, scope, institution) > (
    :after_client::text, :after_kind::text, :after_what::text, :after_scope::text,
    :after_institution::text)
ORDER BY client, kind, what, scope, institution
LIMIT :most::int

-- name: give_grant(client, action, scope, institution)$
-- NULL where the client has it.
INSERT INTO ledger.grants (client, action, scope, institution)
VALUES (:client, :action::ledger.grant_action, :scope::ledger.grant_scope, :institution)
ON CONFLICT DO NOTHING
RETURNING client

-- name: take_grant(client, action, scope, institution)$
-- NULL where the client has it not.
DELETE FROM ledger.grants
WHERE client = :client AND action = :action::ledger.grant_action
  AND scope = :scope::ledger.grant_scope AND institution = :institution
RETURNING client

-- name: give_scheme(client, scheme)$
-- NULL where the client has it.
INSERT INTO ledger.scheme_grants (client, scheme)
VALUES (:client, :scheme)
ON CONFLICT DO NOTHING
RETURNING client

-- name: take_scheme(client, scheme)$
-- NULL where the client has it not.
DELETE FROM ledger.scheme_grants WHERE client = :client AND scheme = :scheme RETURNING client

-- name: limit_revision(client, method, name)$
-- NULL where nothing is set there.
SELECT revision FROM ledger.limits WHERE client = :client AND method = :method AND name = :name

-- name: set_limit(client, method, name, switched_off, per_s, burst, window_s, payees, identifiers)$
INSERT INTO ledger.limits (
  client, method, name, switched_off, per_s, burst, window_s, payees, identifiers)
VALUES (
  :client, :method, :name, :switched_off::boolean, :per_s::double precision, :burst::bigint,
  :window_s::bigint, :payees::bigint, :identifiers::bigint)
ON CONFLICT (client, method, name) DO UPDATE
SET switched_off = excluded.switched_off, per_s = excluded.per_s, burst = excluded.burst,
    window_s = excluded.window_s, payees = excluded.payees, identifiers = excluded.identifiers,
    revision = nextval('ledger.policy_revision')
RETURNING revision

-- name: remove_limit(client, method, name)$
DELETE FROM ledger.limits WHERE client = :client AND method = :method AND name = :name
RETURNING revision

-- name: all_risk_rules()
SELECT currency, daily_limit, daily_decision, new_payee_above, new_payee_decision, revision
FROM ledger.risk_rules
ORDER BY currency

-- name: risk_rule_revision(currency)$
-- NULL where there is none.
SELECT revision FROM ledger.risk_rules WHERE currency = :currency

-- name: set_risk_rule(currency, daily_limit, daily_decision, new_payee_above, new_payee_decision)$
INSERT INTO ledger.risk_rules (
  currency, daily_limit, daily_decision, new_payee_above, new_payee_decision)
VALUES (
  :currency, :daily_limit::bigint, :daily_decision, :new_payee_above::bigint, :new_payee_decision)
ON CONFLICT (currency) DO UPDATE
SET daily_limit = excluded.daily_limit, daily_decision = excluded.daily_decision,
    new_payee_above = excluded.new_payee_above, new_payee_decision = excluded.new_payee_decision,
    revision = nextval('ledger.policy_revision')
RETURNING revision

-- name: remove_risk_rule(currency)$
DELETE FROM ledger.risk_rules WHERE currency = :currency RETURNING revision
