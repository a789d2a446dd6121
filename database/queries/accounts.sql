-- Opening accounts and changing what may happen on them; reading them from the primary.

-- name: read_accounts(ids)
SELECT id, kind, status, currency, owner, institution, opened_by, balance, held, overdraft_limit,
       version, revision, last_entry_us, created_at_us
FROM ledger.accounts
WHERE id = ANY(:ids::bigint[])

-- name: lock_account(id)^
SELECT id, kind, status, currency, owner, institution, opened_by, balance, held, overdraft_limit,
       version, revision, last_entry_us, created_at_us
FROM ledger.accounts
WHERE id = :id::bigint
FOR NO KEY UPDATE

-- name: find_keys(clients, keys)
SELECT used.client, used.key, used.request_hash, used.outcome, used.outcome_id, used.journal_xid,
       used.journal_id, used.figures
FROM unnest(:clients::text[], :keys::text[]) AS wanted (client, key)
JOIN ledger.idempotency_keys AS used
  ON ledger.key_locator(used.client, used.key) = ledger.key_locator(wanted.client, wanted.key)
  AND used.client = wanted.client AND used.key = wanted.key

-- name: open_accounts(ids, kinds, currencies, owners, institutions, opened_by, limits, created_us)!
INSERT INTO ledger.accounts
  (id, kind, currency, owner, institution, opened_by, overdraft_limit, created_at_us)
SELECT * FROM unnest(
  :ids::bigint[], :kinds::ledger.account_kind[], :currencies::text[], :owners::text[],
  :institutions::text[], :opened_by::text[], :limits::bigint[], :created_us::bigint[]
)

-- name: set_status(id, status, revision_read)$
-- NULL when the account's revision is no longer the one that was read.
UPDATE ledger.accounts
SET status = :status::ledger.account_status, revision = revision + 1
WHERE id = :id::bigint AND revision = :revision_read::bigint
RETURNING revision

-- name: set_limit(id, limit, revision_read)$
-- NULL when the account's revision is no longer the one that was read.
UPDATE ledger.accounts
SET overdraft_limit = :limit::bigint, revision = revision + 1
WHERE id = :id::bigint AND revision = :revision_read::bigint
RETURNING revision

-- name: raise_revision(id, revision_read)$
-- NULL when the account's revision is no longer the one that was read.
UPDATE ledger.accounts
SET revision = revision + 1
WHERE id = :id::bigint AND revision = :revision_read::bigint
RETURNING revision

-- name: read_account_details(ids)
SELECT id, metadata
FROM ledger.account_details
WHERE id = ANY(:ids::bigint[])

-- name: write_account_details(ids, metadata)!
INSERT INTO ledger.account_details (id, metadata)
SELECT * FROM unnest(:ids::bigint[], :metadata::jsonb[])

-- name: identifiers_of(account)
SELECT scheme, value
FROM ledger.external_identifiers
WHERE account = :account::bigint

-- name: link_identifier(account, scheme, value, created_us)$
-- Waits for another transaction that links the same; NULL when that one committed.
INSERT INTO ledger.external_identifiers (account, scheme, value, created_at_us)
VALUES (:account::bigint, :scheme, :value, :created_us::bigint)
ON CONFLICT DO NOTHING
RETURNING account

-- name: write_keys(clients, keys, outcome, outcome_ids, hashes, figures, journal_id)!
INSERT INTO ledger.idempotency_keys
  (client, key, outcome, outcome_id, request_hash, figures, journal_id)
SELECT client, key, :outcome::ledger.outcome_kind, outcome_id, request_hash, figures,
       :journal_id::bigint
FROM unnest(
  :clients::text[], :keys::text[], :outcome_ids::bigint[], :hashes::bytea[], :figures::jsonb[]
) AS used (client, key, outcome_id, request_hash, figures)

-- name: write_journal(id, created_us, accounts)$
INSERT INTO ledger.journal (id, created_at_us, accounts)
VALUES (:id::bigint, :created_us::bigint, :accounts::bigint[])
RETURNING xid

-- name: act_as(client, user_id, device_hint, address_hint, actor_key, traced_us, sealed, reason, audit_id)!
-- What the tables write into the audit rows of this transaction; an empty text stands for nothing.
SELECT set_config('paycore.client', :client, true),
       set_config('paycore.user_id', :user_id, true),
       set_config('paycore.device_hint', :device_hint, true),
       set_config('paycore.address_hint', :address_hint, true),
       set_config('paycore.actor_key', :actor_key, true),
       set_config('paycore.traced_us', :traced_us, true),
       set_config('paycore.sealed', :sealed, true),
       set_config('paycore.reason', :reason, true),
       set_config('paycore.audit_id', :audit_id, true)
