-- The chain of seals over the journal: made as role paycore_projector, followed as paycore_audit.

-- name: last_seal()^
SELECT number, epoch, first_xid, first_id, last_xid, last_id, journal_rows, sealed_at_us, previous,
       digests, hash
FROM ledger.seals
ORDER BY number DESC
LIMIT 1

-- name: add_seal(number, epoch, first_xid, first_id, last_xid, last_id, journal_rows, sealed_at_us, previous, digests, hash)!
INSERT INTO ledger.seals (number, epoch, first_xid, first_id, last_xid, last_id, journal_rows,
                          sealed_at_us, previous, digests, hash)
VALUES (:number::bigint, :epoch::bigint, :first_xid::xid8, :first_id::bigint, :last_xid::xid8,
        :last_id::bigint, :journal_rows::bigint, :sealed_at_us::bigint, :previous::bytea,
        :digests::bytea, :hash::bytea)

-- name: find_seal(number)^
SELECT number, epoch, first_xid, first_id, last_xid, last_id, journal_rows, sealed_at_us, previous,
       digests, hash
FROM ledger.seals
WHERE number = :number::bigint

-- name: next_seals(after_number, most)
SELECT number, epoch, first_xid, first_id, last_xid, last_id, journal_rows, sealed_at_us, previous,
       digests, hash
FROM ledger.seals
WHERE number > :after_number::bigint
ORDER BY number
LIMIT :most::int

-- name: journal_until(after_xid, after_id, last_xid, last_id, most)
SELECT xid, id, created_at_us, transfers, declines, accounts, erased_keys
FROM ledger.journal
WHERE (xid, id) > (:after_xid::xid8, :after_id::bigint)
  AND (xid, id) <= (:last_xid::xid8, :last_id::bigint)
ORDER BY xid, id
LIMIT :most::int

-- name: hash_transfers(ids)
-- The hash of each: all its columns, in the order in which docs/seal.md lists them.
SELECT id, sha256(record_send(ROW(
         'transfer'::text, id, debit_account, credit_account, amount, debit_version, credit_version,
         debit_balance_after, credit_balance_after, debit_held_after, created_at_us,
         effective_at_us, authorization_id, kind::text, step_up::text, currency, client, reference,
         details_hash, parent_id, parent_sequence, parent_remaining, parent_state::text, released,
         expires_at_us, group_id, review))) AS leaf
FROM ledger.transfers
WHERE id = ANY (:ids::bigint[])

-- name: hash_declines(ids)
SELECT id, sha256(record_send(ROW(
         'decline'::text, id, debit_account, credit_account, amount, created_at_us, effective_at_us,
         kind::text, currency, client, reason, figures::text, reference, details_hash, parent_id,
         group_id, xid::text))) AS leaf
FROM ledger.declines
WHERE id = ANY (:ids::bigint[])

-- name: hash_accounts(ids)
-- What an account is, which never changes; not what it has.
SELECT id, sha256(record_send(ROW(
         'account'::text, id, created_at_us, kind::text, currency, owner, institution, opened_by
       ))) AS leaf
FROM ledger.accounts
WHERE id = ANY (:ids::bigint[])

-- name: unsealed(last_xid, last_id)^
-- How much of the journal comes after the last seal, and since when.
SELECT count(*) AS journal_rows, min(created_at_us) AS since_us
FROM ledger.journal
WHERE (xid, id) > (:last_xid::xid8, :last_id::bigint)

-- name: count_named()^
-- How many transfers and declines there are, and how many the journal names.
SELECT (SELECT count(*) FROM ledger.transfers) AS transfers,
       (SELECT count(*) FROM ledger.declines) AS declines,
       coalesce(sum(cardinality(journal.transfers)), 0) AS transfers_named,
       coalesce(sum(cardinality(journal.declines)), 0) AS declines_named
FROM ledger.journal

-- name: first_unnamed()^
-- The first transfer or decline that no journal row names.
SELECT held."table", held.id
FROM (
  SELECT 'transfers' AS "table", id FROM ledger.transfers
  UNION ALL
  SELECT 'declines', id FROM ledger.declines
) AS held
LEFT JOIN (
  SELECT unnest(transfers || declines) AS id FROM ledger.journal
) AS named ON named.id = held.id
WHERE named.id IS NULL
ORDER BY held.id
LIMIT 1
