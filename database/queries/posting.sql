-- Reading and writing of one posting transaction. Every statement is set-based: a batch costs the
-- same number of round trips whatever its size.

-- name: lock_accounts(ids)
-- In order of id, so that two batches never wait for each other in a circle.
SELECT id, kind, status, currency, owner, institution, opened_by, balance, held, overdraft_limit,
       version, revision, last_entry_us, created_at_us
FROM ledger.accounts
WHERE id = ANY(:ids::bigint[])
ORDER BY id
FOR NO KEY UPDATE

-- name: find_held(ids)
-- Rows that another transaction has locked to write them; what is free is locked for this statement.
WITH free AS MATERIALIZED (
  SELECT id
  FROM ledger.accounts
  WHERE id = ANY(:ids::bigint[])
  FOR SHARE SKIP LOCKED
)
SELECT account.id
FROM ledger.accounts AS account
WHERE account.id = ANY(:ids::bigint[]) AND NOT EXISTS (SELECT FROM free WHERE free.id = account.id)

-- name: find_keys(clients, keys)
-- Run after the locks: a later statement has a later snapshot, and sees what their holders stored.
SELECT used.client, used.key, used.request_hash, used.outcome, used.outcome_id, used.journal_xid,
       used.journal_id
FROM unnest(:clients::text[], :keys::text[]) AS wanted (client, key)
JOIN ledger.idempotency_keys AS used
  ON ledger.key_locator(used.client, used.key) = ledger.key_locator(wanted.client, wanted.key)
  AND used.client = wanted.client AND used.key = wanted.key

-- name: find_payers(clients, keys, accounts)
-- By place, from 1, the accounts of payments whose key has no outcome.
SELECT account.id, account.kind, account.status, account.currency, account.owner,
       account.institution, account.opened_by, account.balance, account.held,
       account.overdraft_limit, account.version, account.revision, account.last_entry_us,
       account.created_at_us, wanted.place
FROM unnest(:clients::text[], :keys::text[], :accounts::bigint[])
  WITH ORDINALITY AS wanted (client, key, account, place)
JOIN ledger.accounts AS account ON account.id = wanted.account
WHERE NOT EXISTS (
  SELECT FROM ledger.idempotency_keys AS used
  WHERE ledger.key_locator(used.client, used.key) = ledger.key_locator(wanted.client, wanted.key)
    AND used.client = wanted.client AND used.key = wanted.key
)

-- name: find_transfers(ids)
SELECT id, debit_account, credit_account, amount, debit_version, credit_version,
       debit_balance_after, credit_balance_after, debit_held_after, created_at_us, effective_at_us,
       authorization_id, kind, step_up, currency, client, reference, details_hash, parent_id,
       parent_sequence, parent_remaining, parent_state, released, expires_at_us, group_id, review
FROM ledger.transfers
WHERE id = ANY(:ids::bigint[])

-- name: find_latest_children(ids)
-- How each of the transfers stands that another has followed.
SELECT wanted.id, latest.parent_sequence, latest.parent_remaining, latest.parent_state
FROM unnest(:ids::bigint[]) AS wanted (id)
CROSS JOIN LATERAL (
  SELECT parent_sequence, parent_remaining, parent_state
  FROM ledger.transfers
  WHERE parent_id = wanted.id
  ORDER BY parent_sequence DESC
  LIMIT 1
) AS latest

-- name: clock_us()$
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint

-- name: find_groups(ids)
SELECT id, transfers
FROM ledger.transfer_groups
WHERE id = ANY(:ids::bigint[])

-- name: find_declines(ids)
SELECT id, debit_account, credit_account, amount, created_at_us, effective_at_us, kind, currency,
       client, reason, figures, reference, details_hash, parent_id, group_id
FROM ledger.declines
WHERE id = ANY(:ids::bigint[])

-- name: find_details(ids)
-- What a tombstone names stays erased whatever keys this process may still hold.
SELECT details.id, user_id, device_id, ip_address, description, metadata, owner_key, actor_key, sealed,
       EXISTS (SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)) AS erased
FROM ledger.transfer_details AS details
WHERE details.id = ANY(:ids::bigint[])

-- name: write_batch(ids, debits, credits, amounts, debit_versions, credit_versions, debit_balances, credit_balances, debit_helds, created_us, effective_us, authorization_ids, kind, kinds, step_up, step_ups, currency, currencies, client, clients, refs, details_hashes, parent_ids, parent_sequences, parents_remaining, parent_states, released, expire_us, group_ids, reviews, key_client, key_clients, key_keys, key_outcome, key_outcomes, key_outcome_ids, key_hashes, journal_id, journal_us, declines)$
-- Transfers, keys and the journal row in one statement; the tables apply the transfers to their
-- accounts, which fails where these are not as the transfers were decided from. All transfers must
-- be in one statement: each account's must follow on it without a gap.
-- An array is empty where no row has a value, and where all have the one that stands beside it.
WITH posted AS (
  INSERT INTO ledger.transfers (
    id, debit_account, credit_account, amount, debit_version, credit_version,
    debit_balance_after, credit_balance_after, debit_held_after, created_at_us, effective_at_us,
    authorization_id, kind, step_up, currency, client, reference, details_hash, parent_id,
    parent_sequence, parent_remaining, parent_state, released, expires_at_us, group_id, review
  )
  SELECT
    id, debit_account, credit_account, amount, debit_version, credit_version,
    debit_balance_after, credit_balance_after, coalesce(debit_held_after, 0), created_at_us,
    effective_at_us, authorization_id, coalesce(kind, :kind::ledger.transfer_kind),
    coalesce(step_up, :step_up::ledger.step_up_basis), coalesce(currency, :currency::text),
    coalesce(client, :client::text), reference, details_hash, parent_id, parent_sequence,
    parent_remaining, parent_state, released, expires_at_us, group_id, review
  FROM unnest(
    :ids::bigint[], :debits::bigint[], :credits::bigint[], :amounts::bigint[],
    :debit_versions::bigint[], :credit_versions::bigint[], :debit_balances::bigint[],
    :credit_balances::bigint[], :debit_helds::bigint[], :created_us::bigint[],
    :effective_us::bigint[], :authorization_ids::bigint[], :kinds::ledger.transfer_kind[],
    :step_ups::ledger.step_up_basis[], :currencies::text[], :clients::text[], :refs::text[],
    :details_hashes::bytea[], :parent_ids::bigint[], :parent_sequences::bigint[],
    :parents_remaining::bigint[], :parent_states::ledger.transfer_state[], :released::bigint[],
    :expire_us::bigint[], :group_ids::bigint[], :reviews::text[]
  ) AS new (
    id, debit_account, credit_account, amount, debit_version, credit_version,
    debit_balance_after, credit_balance_after, debit_held_after, created_at_us, effective_at_us,
    authorization_id, kind, step_up, currency, client, reference, details_hash, parent_id,
    parent_sequence, parent_remaining, parent_state, released, expires_at_us, group_id, review
  )
), remembered AS (
  INSERT INTO ledger.idempotency_keys
    (client, key, outcome, outcome_id, request_hash, journal_id)
  SELECT coalesce(client, :key_client::text), key,
         coalesce(outcome, :key_outcome::ledger.outcome_kind), outcome_id, request_hash,
         :journal_id::bigint
  FROM unnest(
    :key_clients::text[], :key_keys::text[], :key_outcomes::ledger.outcome_kind[],
    :key_outcome_ids::bigint[], :key_hashes::bytea[]
  ) AS used (client, key, outcome, outcome_id, request_hash)
)
INSERT INTO ledger.journal (id, created_at_us, transfers, declines)
VALUES (:journal_id::bigint, :journal_us::bigint, :ids::bigint[], :declines::bigint[])
RETURNING xid

-- name: write_groups(ids, created_us, clients, members)!
-- `members` are the transfers of each group in order, as the text of an array.
INSERT INTO ledger.transfer_groups (id, created_at_us, client, transfers)
SELECT id, created_us, client, members::bigint[]
FROM unnest(:ids::bigint[], :created_us::bigint[], :clients::text[], :members::text[])
  AS new (id, created_us, client, members)

-- name: write_declines(ids, debits, credits, amounts, created_us, effective_us, kinds, currencies, clients, reasons, figures, refs, details_hashes, parent_ids, group_ids)!
INSERT INTO ledger.declines (
  id, debit_account, credit_account, amount, created_at_us, effective_at_us, kind, currency, client,
  reason, figures, reference, details_hash, parent_id, group_id
)
SELECT * FROM unnest(
  :ids::bigint[], :debits::bigint[], :credits::bigint[], :amounts::bigint[], :created_us::bigint[],
  :effective_us::bigint[], :kinds::ledger.transfer_kind[], :currencies::text[], :clients::text[],
  :reasons::text[], :figures::jsonb[], :refs::text[], :details_hashes::bytea[],
  :parent_ids::bigint[], :group_ids::bigint[]
)

-- name: write_details(ids, owner_keys, actor_keys, sealed)!
INSERT INTO ledger.transfer_details (id, owner_key, actor_key, sealed)
SELECT * FROM unnest(
  :ids::bigint[], :owner_keys::bigint[], :actor_keys::bigint[], :sealed::bytea[]
)

-- name: write_authorizations(ids, transfer_ids, group_ids, payers, signed_us, issued_us, expires_us, users, methods, clients, keys, key_ids, digests, signatures)!
INSERT INTO ledger.authorizations (
  id, transfer_id, group_id, payer, signed_at_us, issued_at_us, expires_at_us, user_id, method, client,
  idempotency_key, key_id, digest, signature
)
SELECT * FROM unnest(
  :ids::bigint[], :transfer_ids::bigint[], :group_ids::bigint[], :payers::bigint[], :signed_us::bigint[], :issued_us::bigint[],
  :expires_us::bigint[], :users::text[], :methods::text[], :clients::text[], :keys::text[],
  :key_ids::text[], :digests::bytea[], :signatures::bytea[]
)

-- name: next_transaction()$
-- Takes a transaction id: every transaction that has one already, has a lower one. The upper bound of
-- a snapshot would not do: it is one past the last that ended, and others above it may be running.
SELECT pg_current_xact_id()

-- name: horizon()$
-- Every transaction below it has ended.
SELECT pg_snapshot_xmin(pg_current_snapshot())

-- name: find_by_reference(client, reference, most)
-- Newest first, posted and declined alike.
SELECT id, false AS declined
FROM ledger.transfers
WHERE client = :client AND reference = :reference
UNION ALL
SELECT id, true
FROM ledger.declines
WHERE client = :client AND reference = :reference
ORDER BY id DESC
LIMIT :most::int

-- name: find_expired_holds(now_us, most)
-- By both clocks: a process whose own runs ahead frees nothing before its time.
SELECT id
FROM ledger.open_holds
WHERE expires_at_us <= (
  SELECT least(:now_us::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
)
ORDER BY expires_at_us
LIMIT :most::int
