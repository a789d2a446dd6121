-- Changing when payers must approve and what clients may do. The tables write the audit.

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
