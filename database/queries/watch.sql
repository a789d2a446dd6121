-- What those who watch accounts are sent, as role paycore_query. What is below a snapshot's xmin has
-- ended, on a replica too, and what it wrote can be read: the journal is followed up to there.

-- name: begin_tail()^
-- The place from which on the journal is followed by whoever begins now: all below xmin has ended.
SELECT epoch.epoch, snapshot.xmin, last.xid, last.id
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) AS snapshot
CROSS JOIN ledger.epoch
LEFT JOIN LATERAL (
  SELECT xid, id FROM ledger.journal WHERE xid < snapshot.xmin ORDER BY xid DESC, id DESC LIMIT 1
) AS last ON true;

-- name: follow_journal(after_xid, after_id, max_rows, max_entries)
-- The snapshot, and the next journal rows that no transaction still under way can come before; one
-- row without journal columns where there are none. The page ends with the row that reaches
-- max_entries.
WITH snapshot AS MATERIALIZED (
  SELECT pg_snapshot_xmin(taken) AS xmin, pg_snapshot_xmax(taken) AS xmax
  FROM pg_current_snapshot() AS taken
)
SELECT snapshot.xmin, snapshot.xmax, epoch.epoch,
       page.xid, page.id, page.created_at_us, page.transfers, page.declines
FROM snapshot
CROSS JOIN ledger.epoch
LEFT JOIN LATERAL (
  SELECT weighed.*
  FROM (
    SELECT candidate.*,
           sum(candidate.entries) OVER (ORDER BY candidate.xid, candidate.id)
             - candidate.entries AS entries_before
    FROM (
      SELECT journal.xid, journal.id, created_at_us, transfers, declines,
             cardinality(transfers) + cardinality(declines) AS entries
      FROM ledger.journal
      WHERE (journal.xid, journal.id) > (:after_xid::xid8, :after_id::bigint)
        AND journal.xid < snapshot.xmin
      ORDER BY journal.xid, journal.id
      LIMIT :max_rows::int
    ) AS candidate
  ) AS weighed
  WHERE weighed.entries_before < :max_entries::bigint
) AS page ON true
ORDER BY page.xid, page.id;

-- name: watched_transfers(ids, accounts)
-- Those of `ids` that are entries of one of `accounts`.
SELECT transfers.id, transfers.kind::text, debit_account, credit_account, amount,
       transfers.currency, debit_version, credit_version, debit_balance_after,
       credit_balance_after, debit_held_after, client, reference, step_up::text, authorization_id,
       transfers.created_at_us, effective_at_us, parent_id, parent_sequence, parent_remaining,
       parent_state::text, released, expires_at_us, group_id, review,
       debit.opened_by AS debit_opened_by, debit.institution AS debit_institution,
       credit.opened_by AS credit_opened_by, credit.institution AS credit_institution,
       user_id, device_id, ip_address, description, metadata::text, owner_key, actor_key, sealed,
       sealed IS NOT NULL AND EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) AS erased
FROM ledger.transfers
JOIN ledger.accounts AS debit ON debit.id = debit_account
JOIN ledger.accounts AS credit ON credit.id = credit_account
LEFT JOIN ledger.transfer_details AS details ON details.id = transfers.id
WHERE transfers.id = ANY (:ids::bigint[])
  AND (debit_account = ANY (:accounts::bigint[])
       OR credit_account = ANY (:accounts::bigint[]) AND credit_version IS NOT NULL);

-- name: watched_declines(ids, accounts)
-- Those of `ids` that one of `accounts` was to pay. What they follow and hold is the payer's.
WITH named AS MATERIALIZED (
  -- By id, however few an account's may seem: a payer's may be many.
  SELECT * FROM ledger.declines WHERE id = ANY (:ids::bigint[])
)
SELECT declines.id, declines.xid, declines.kind::text, debit_account, credit_account, amount,
       declines.currency, client, reference, reason, figures::text, declines.created_at_us,
       effective_at_us, parent_id, group_id,
       debit.opened_by AS debit_opened_by, debit.institution AS debit_institution,
       credit.opened_by AS credit_opened_by, credit.institution AS credit_institution,
       user_id, device_id, ip_address, description, metadata::text, owner_key, actor_key, sealed,
       sealed IS NOT NULL AND EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) AS erased
FROM named AS declines
LEFT JOIN ledger.accounts AS debit ON debit.id = debit_account
LEFT JOIN ledger.accounts AS credit ON credit.id = credit_account
LEFT JOIN ledger.transfer_details AS details ON details.id = declines.id
WHERE debit_account = ANY (:accounts::bigint[]);

-- name: entries_between(account, above, most)
-- An account's entries with these versions, which have no gap, so that the bound is also one on rows.
WITH entry AS (
  SELECT transfers.*, debit_version AS version
  FROM ledger.transfers
  WHERE debit_account = :account::bigint
    AND debit_version > :above::bigint AND debit_version <= :above::bigint + :most::bigint
  UNION ALL
  SELECT transfers.*, credit_version
  FROM ledger.transfers
  WHERE credit_account = :account::bigint
    AND credit_version > :above::bigint AND credit_version <= :above::bigint + :most::bigint
)
SELECT entry.id, entry.kind::text, debit_account, credit_account, amount,
       entry.currency, debit_version, credit_version, debit_balance_after,
       credit_balance_after, debit_held_after, client, reference, step_up::text, authorization_id,
       entry.created_at_us, effective_at_us, parent_id, parent_sequence, parent_remaining,
       parent_state::text, released, expires_at_us, group_id, review,
       debit.opened_by AS debit_opened_by, debit.institution AS debit_institution,
       credit.opened_by AS credit_opened_by, credit.institution AS credit_institution,
       user_id, device_id, ip_address, description, metadata::text, owner_key, actor_key, sealed,
       sealed IS NOT NULL AND EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) AS erased
FROM entry
JOIN ledger.accounts AS debit ON debit.id = debit_account
JOIN ledger.accounts AS credit ON credit.id = credit_account
LEFT JOIN ledger.transfer_details AS details ON details.id = entry.id
ORDER BY entry.version;

-- name: declines_between(account, after_xid, after_id, below_xid, most)
-- An account's declines in the order of the journal, of transactions that have ended.
SELECT declines.id, declines.xid, declines.kind::text, debit_account, credit_account, amount,
       declines.currency, client, reference, reason, figures::text, declines.created_at_us,
       effective_at_us, parent_id, group_id,
       debit.opened_by AS debit_opened_by, debit.institution AS debit_institution,
       credit.opened_by AS credit_opened_by, credit.institution AS credit_institution,
       user_id, device_id, ip_address, description, metadata::text, owner_key, actor_key, sealed,
       sealed IS NOT NULL AND EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) AS erased
FROM (
  SELECT *
  FROM ledger.declines
  WHERE debit_account = :account::bigint
    AND (xid, id) > (:after_xid::xid8, :after_id::bigint) AND xid < :below_xid::xid8
  ORDER BY xid, id
  LIMIT :most::int
) AS declines
LEFT JOIN ledger.accounts AS debit ON debit.id = debit_account
LEFT JOIN ledger.accounts AS credit ON credit.id = credit_account
LEFT JOIN ledger.transfer_details AS details ON details.id = declines.id
ORDER BY declines.xid, declines.id;

-- name: account_now(account)^
-- How far the account's entries go, and what of the journal has ended, in one snapshot.
SELECT accounts.version, epoch.epoch, snapshot.xmin, last.xid, last.id
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) AS snapshot
CROSS JOIN ledger.epoch
CROSS JOIN ledger.accounts
LEFT JOIN LATERAL (
  SELECT xid, id FROM ledger.journal WHERE xid < snapshot.xmin ORDER BY xid DESC, id DESC LIMIT 1
) AS last ON true
WHERE accounts.id = :account;

-- name: watched_account(account)^
SELECT id, currency, opened_by, institution, balance, held, overdraft_limit, version
FROM ledger.accounts
WHERE id = :account;

-- name: journal_time_at(xid, journal_id)$
-- When the last journal row up to a place was written, in microseconds; NULL before the first.
SELECT created_at_us
FROM ledger.journal
WHERE (xid, id) <= (:xid::xid8, :journal_id::bigint)
ORDER BY xid DESC, id DESC
LIMIT 1;

-- name: entry_time(account, version)$
-- When an entry was posted, in microseconds.
SELECT created_at_us FROM ledger.transfers
WHERE debit_account = :account AND debit_version = :version
UNION ALL
SELECT created_at_us FROM ledger.transfers
WHERE credit_account = :account AND credit_version = :version;

-- name: first_entry_after(account, above, most, xid)$
-- The first of an account's entries with these versions whose transaction is above `xid`. A row tells
-- the lower 32 bits of its own: enough among transactions that are fewer than 2^31 apart.
SELECT min(version)
FROM (
  SELECT debit_version AS version, transfers.xmin::text::bigint AS low
  FROM ledger.transfers
  WHERE debit_account = :account::bigint
    AND debit_version > :above::bigint AND debit_version <= :above::bigint + :most::bigint
  UNION ALL
  SELECT credit_version, transfers.xmin::text::bigint
  FROM ledger.transfers
  WHERE credit_account = :account::bigint
    AND credit_version > :above::bigint AND credit_version <= :above::bigint + :most::bigint
) AS entry
WHERE (low - :xid::bigint % 4294967296 + 4294967296) % 4294967296 BETWEEN 1 AND 2147483647;
