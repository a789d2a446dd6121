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

-- name: write_audit(id, created_us, client, action, subject, before, after, reason, user_id, device_id, ip_address)!
INSERT INTO ledger.audit
  (id, created_at_us, client, action, subject, before, after, reason, user_id, device_id, ip_address)
VALUES (
  :id::bigint, :created_us::bigint, :client, :action, :subject, :before::jsonb, :after::jsonb,
  :reason, :user_id, :device_id, :ip_address
)
