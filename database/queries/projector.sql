-- name: try_lead(sink)$
-- The lock is a session's: it goes with its connection. The first key says what the lock is for.
SELECT pg_try_advisory_lock(x'70726f6a'::int, hashtext(:sink));

-- name: still_connected()$
SELECT 1;

-- name: read_epoch()$
SELECT epoch FROM ledger.epoch;

-- name: read_journal(after_xid, after_id, max_rows, max_entries)
-- The snapshot, and the next journal rows that no transaction still under way can come before;
-- one row without journal columns where there are none. The page ends with the row that reaches
-- max_entries, so a row of any size is read whole.
WITH snapshot AS MATERIALIZED (
  SELECT pg_snapshot_xmin(taken) AS xmin, pg_snapshot_xmax(taken) AS xmax
  FROM pg_current_snapshot() AS taken
)
SELECT snapshot.xmin, snapshot.xmax, epoch.epoch,
       page.xid, page.id, page.created_at_us, page.transfers, page.declines, page.accounts,
       page.erased_keys
FROM snapshot
CROSS JOIN ledger.epoch
LEFT JOIN LATERAL (
  SELECT weighed.*
  FROM (
    SELECT candidate.*,
           sum(candidate.entries) OVER (ORDER BY candidate.xid, candidate.id)
             - candidate.entries AS entries_before
    FROM (
      SELECT journal.*,
             cardinality(transfers) + cardinality(declines) + cardinality(accounts) AS entries
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

-- name: load_transfers(ids)
SELECT transfers.id, kind::text, debit_account, credit_account, amount, currency,
       debit_version, credit_version, debit_balance_after, credit_balance_after, debit_held_after,
       client, reference, step_up::text, authorization_id, created_at_us, effective_at_us,
       parent_id, parent_sequence, parent_remaining, parent_state::text, released, expires_at_us,
       group_id, review, user_id, device_id, ip_address, description, metadata::text,
       owner_key, actor_key, sealed,
       CASE WHEN sealed IS NULL THEN 0 ELSE (
         SELECT count(*) FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) END AS erasures
FROM ledger.transfers
LEFT JOIN ledger.transfer_details AS details ON details.id = transfers.id
WHERE transfers.id = ANY (:ids::bigint[]);

-- name: load_latest_children(ids, above)
-- The latest that followed each of the transfers, where any did: few of a page, told by their first
-- child in one search. A child's id may lie below its parent's only as far as clocks of processes
-- differ: `above` is that much below the lowest of `ids`, and the months before it are left alone.
SELECT first.parent_id AS id, latest.parent_sequence, latest.parent_remaining, latest.parent_state
FROM ledger.transfers AS first
CROSS JOIN LATERAL (
  SELECT parent_sequence, parent_remaining, parent_state::text
  FROM ledger.transfers
  WHERE parent_id = first.parent_id
  ORDER BY parent_sequence DESC
  LIMIT 1
) AS latest
WHERE first.parent_id = ANY (:ids::bigint[]) AND first.parent_sequence = 1
  AND first.id > :above::bigint;

-- name: load_declines(ids)
SELECT declines.id, kind::text, debit_account, credit_account, amount, currency,
       client, reference, reason, figures::text, created_at_us, effective_at_us,
       parent_id, group_id, user_id, device_id, ip_address, description, metadata::text,
       owner_key, actor_key, sealed,
       CASE WHEN sealed IS NULL THEN 0 ELSE (
         SELECT count(*) FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) END AS erasures
FROM ledger.declines
LEFT JOIN ledger.transfer_details AS details ON details.id = declines.id
WHERE declines.id = ANY (:ids::bigint[]);

-- name: load_accounts(ids)
SELECT id, kind::text, status::text, currency, owner, institution, opened_by,
       balance, held, overdraft_limit, version, revision, created_at_us
FROM ledger.accounts
WHERE id = ANY (:ids::bigint[]);

-- name: load_checkpoint(sink)^
SELECT epoch, xid, journal_id FROM projection.checkpoints WHERE sink = :sink;

-- name: save_checkpoint(sink, epoch, xid, journal_id)!
INSERT INTO projection.checkpoints AS checkpoint (sink, epoch, xid, journal_id)
VALUES (:sink, :epoch, :xid, :journal_id)
ON CONFLICT (sink) DO UPDATE
  SET epoch = excluded.epoch, xid = excluded.xid, journal_id = excluded.journal_id,
      updated_at = now();

-- name: count_dead_letters(sink, kinds, document_ids)^
-- How many there are, and how many of the ones named are among them.
SELECT count(*) AS held,
       count(*) FILTER (WHERE (kind, document_id) IN (
         SELECT * FROM unnest(:kinds::text[], :document_ids::bigint[]))) AS again
FROM projection.dead_letters
WHERE sink = :sink;

-- name: save_dead_letters(sink, kinds, document_ids, versions, error_types, reasons, xid, journal_id)!
INSERT INTO projection.dead_letters AS letter
  (sink, kind, document_id, version, error_type, reason, journal_xid, journal_id)
SELECT :sink, kind, document_id, version, error_type, reason, :xid, :journal_id
FROM unnest(:kinds::text[], :document_ids::bigint[], :versions::bigint[],
            :error_types::text[], :reasons::text[])
  AS refused (kind, document_id, version, error_type, reason)
ON CONFLICT (sink, kind, document_id) DO UPDATE
  SET version = excluded.version, error_type = excluded.error_type, reason = excluded.reason,
      journal_xid = excluded.journal_xid, journal_id = excluded.journal_id,
      failures = letter.failures + 1, last_failed_at = now();
