-- History from the ledger itself, as role paycore_query, in one snapshot an answer.
--
-- An account's entries have gap-free versions in the order of their time, so a time is found by
-- bisection over versions, and a page by following the two indexes on (account, version).

-- name: read_freshness(xid, journal_id)^
-- How far the snapshot is, and whether a journal row is in it. `newest` is the last row before which
-- no transaction can add any more. On a replica pg_snapshot_xmin is true to that, though the list of
-- unfinished transactions in a snapshot is empty there, for which no question by that list is asked.
SELECT epoch.epoch, pg_is_in_recovery() AS replica,
       (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000)::bigint
         AS replayed_us_ago,
       newest.xid, newest.id,
       EXISTS (SELECT FROM ledger.journal
               WHERE xid = :xid::xid8 AND id = :journal_id::bigint) AS found,
       :xid::xid8 < taken.xmin AS complete
FROM ledger.epoch
CROSS JOIN (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) AS taken
LEFT JOIN LATERAL (
  SELECT xid, id FROM ledger.journal
  WHERE journal.xid < taken.xmin
  ORDER BY xid DESC, id DESC
  LIMIT 1
) AS newest ON true;

-- name: find_account(account)^
SELECT id, currency, opened_by, institution, balance, held, overdraft_limit, version
FROM ledger.accounts
WHERE id = :account::bigint;

-- name: find_version(account, before_us)$
-- The version of the account's last entry before that time; 0 where there is none. The view of
-- entries would not do: into its sides no condition on the step is pushed.
WITH RECURSIVE bisection (low, high) AS (
  SELECT 0::bigint, version FROM ledger.accounts WHERE id = :account::bigint
  UNION ALL
  SELECT CASE WHEN middle.created_at_us < :before_us::bigint THEN middle.version ELSE low END,
         CASE WHEN middle.created_at_us < :before_us::bigint THEN high ELSE middle.version - 1 END
  FROM bisection
  CROSS JOIN LATERAL (
    SELECT debit_version AS version, created_at_us FROM ledger.transfers
    WHERE debit_account = :account::bigint AND debit_version = (low + high + 1) / 2
    UNION ALL
    SELECT credit_version, created_at_us FROM ledger.transfers
    WHERE credit_account = :account::bigint AND credit_version = (low + high + 1) / 2
  ) AS middle
  WHERE low < high
)
SELECT low FROM bisection WHERE low = high;

-- name: version_of(account, transfer)$
-- Which entry of the account a transfer is; NULL for none.
SELECT CASE WHEN debit_account = :account::bigint THEN debit_version
            WHEN credit_account = :account::bigint THEN credit_version END
FROM ledger.transfers
WHERE id = :transfer::bigint;

-- name: find_entry(account, version)^
-- An entry, and what was held after it: only entries of the payer's side change that.
SELECT entry.version, entry.balance_after, entry.created_at_us,
       coalesce((
         SELECT debit_held_after FROM ledger.transfers
         WHERE debit_account = :account::bigint AND debit_version <= :version::bigint
         ORDER BY debit_version DESC
         LIMIT 1
       ), 0) AS held_after
FROM ledger.entries AS entry
WHERE entry.account = :account::bigint AND entry.version = :version::bigint;

-- name: find_transfer(id)^
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
WHERE transfers.id = :id::bigint;

-- name: find_decline(id)^
SELECT declines.id, declines.kind::text, debit_account, credit_account, amount, declines.currency,
       client, reference, reason, figures::text, declines.created_at_us, effective_at_us, parent_id,
       group_id,
       debit.opened_by AS debit_opened_by, debit.institution AS debit_institution,
       credit.opened_by AS credit_opened_by, credit.institution AS credit_institution,
       user_id, device_id, ip_address, description, metadata::text, owner_key, actor_key, sealed,
       sealed IS NOT NULL AND EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) AS erased
FROM ledger.declines
LEFT JOIN ledger.accounts AS debit ON debit.id = debit_account
LEFT JOIN ledger.accounts AS credit ON credit.id = credit_account
LEFT JOIN ledger.transfer_details AS details ON details.id = declines.id
WHERE declines.id = :id::bigint;

-- name: list_transfers(account, above, versions, lowest_id, id_span, start_us, before_us, before_id, kinds, counterparty, min_amount, max_amount, reference, max_rows)
-- Newest first, below (before_us, before_id): the account's entries with above < version <= above + versions, of
-- either side, and the holds and releases of which it is the payee from start_us on. The ids only
-- leave out partitions. Filters that are NULL hold for all.
WITH listed AS (
  SELECT *
  FROM (
    (SELECT * FROM ledger.transfers
     WHERE debit_account = :account::bigint
       AND debit_version > :above::bigint AND debit_version <= :above::bigint + :versions::bigint
       AND (created_at_us, id) < (:before_us::bigint, :before_id::bigint)
       AND id BETWEEN :lowest_id::bigint AND :lowest_id::bigint + :id_span::bigint
       AND coalesce(kind = ANY (:kinds::ledger.transfer_kind[]), true)
       AND coalesce(credit_account = :counterparty::bigint, true)
       AND coalesce(amount >= :min_amount::bigint, true)
       AND coalesce(amount <= :max_amount::bigint, true)
       AND (:reference::text IS NULL OR reference = :reference::text)
     ORDER BY debit_version DESC
     LIMIT :max_rows::int)
    UNION ALL
    (SELECT * FROM ledger.transfers
     WHERE credit_account = :account::bigint
       AND credit_version > :above::bigint AND credit_version <= :above::bigint + :versions::bigint
       AND (created_at_us, id) < (:before_us::bigint, :before_id::bigint)
       AND id BETWEEN :lowest_id::bigint AND :lowest_id::bigint + :id_span::bigint
       AND coalesce(kind = ANY (:kinds::ledger.transfer_kind[]), true)
       AND coalesce(debit_account = :counterparty::bigint, true)
       AND coalesce(amount >= :min_amount::bigint, true)
       AND coalesce(amount <= :max_amount::bigint, true)
       AND (:reference::text IS NULL OR reference = :reference::text)
     ORDER BY credit_version DESC
     LIMIT :max_rows::int)
    UNION ALL
    (SELECT * FROM ledger.transfers
     WHERE credit_account = :account::bigint AND credit_version IS NULL
       AND created_at_us >= :start_us::bigint
       AND (created_at_us, id) < (:before_us::bigint, :before_id::bigint)
       AND id BETWEEN :lowest_id::bigint AND :lowest_id::bigint + :id_span::bigint
       AND coalesce(kind = ANY (:kinds::ledger.transfer_kind[]), true)
       AND coalesce(debit_account = :counterparty::bigint, true)
       AND coalesce(amount >= :min_amount::bigint, true)
       AND coalesce(amount <= :max_amount::bigint, true)
       AND (:reference::text IS NULL OR reference = :reference::text)
     ORDER BY created_at_us DESC, id DESC
     LIMIT :max_rows::int)
  ) AS merged
  ORDER BY created_at_us DESC, id DESC
  LIMIT :max_rows::int
)
SELECT listed.id, listed.kind::text, debit_account, credit_account, amount,
       listed.currency, debit_version, credit_version, debit_balance_after,
       credit_balance_after, debit_held_after, client, reference, step_up::text, authorization_id,
       listed.created_at_us, effective_at_us, parent_id, parent_sequence, parent_remaining,
       parent_state::text, released, expires_at_us, group_id, review,
       debit.opened_by AS debit_opened_by, debit.institution AS debit_institution,
       credit.opened_by AS credit_opened_by, credit.institution AS credit_institution,
       user_id, device_id, ip_address, description, metadata::text, owner_key, actor_key, sealed,
       sealed IS NOT NULL AND EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) AS erased
FROM listed
JOIN ledger.accounts AS debit ON debit.id = debit_account
JOIN ledger.accounts AS credit ON credit.id = credit_account
LEFT JOIN ledger.transfer_details AS details ON details.id = listed.id
ORDER BY listed.created_at_us DESC, listed.id DESC;

-- name: list_declines(account, start_us, before_us, before_id, kinds, counterparty, min_amount, max_amount, reference, max_rows)
-- Newest first, of the account's debits; filters as in list_transfers.
SELECT declines.id, declines.kind::text, debit_account, credit_account, amount, declines.currency,
       client, reference, reason, figures::text, declines.created_at_us, effective_at_us, parent_id,
       group_id,
       debit.opened_by AS debit_opened_by, debit.institution AS debit_institution,
       credit.opened_by AS credit_opened_by, credit.institution AS credit_institution,
       user_id, device_id, ip_address, description, metadata::text, owner_key, actor_key, sealed,
       sealed IS NOT NULL AND EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) AS erased
FROM (
  SELECT * FROM ledger.declines
  WHERE debit_account = :account::bigint
    AND created_at_us >= :start_us::bigint
    AND (created_at_us, id) < (:before_us::bigint, :before_id::bigint)
    AND coalesce(kind = ANY (:kinds::ledger.transfer_kind[]), true)
    AND coalesce(credit_account = :counterparty::bigint, true)
    AND coalesce(amount >= :min_amount::bigint, true)
    AND coalesce(amount <= :max_amount::bigint, true)
    AND (:reference::text IS NULL OR reference = :reference::text)
  ORDER BY created_at_us DESC, id DESC
  LIMIT :max_rows::int
) AS declines
LEFT JOIN ledger.accounts AS debit ON debit.id = debit_account
LEFT JOIN ledger.accounts AS credit ON credit.id = credit_account
LEFT JOIN ledger.transfer_details AS details ON details.id = declines.id
ORDER BY declines.created_at_us DESC, declines.id DESC;

-- name: count_transfers(account, above, versions, lowest_id, id_span, start_us, before_us, before_id, kinds, counterparty, min_amount, max_amount, reference, with_declines, max_rows)$
-- How many list_transfers and, where asked for, list_declines would give in all pages, up to
-- max_rows. No part reads more rows that match than that.
SELECT count(*)
FROM (
  (SELECT 1 FROM ledger.transfers
   WHERE debit_account = :account::bigint
     AND debit_version > :above::bigint AND debit_version <= :above::bigint + :versions::bigint
     AND (created_at_us, id) < (:before_us::bigint, :before_id::bigint)
     AND id BETWEEN :lowest_id::bigint AND :lowest_id::bigint + :id_span::bigint
     AND coalesce(kind = ANY (:kinds::ledger.transfer_kind[]), true)
     AND coalesce(credit_account = :counterparty::bigint, true)
     AND coalesce(amount >= :min_amount::bigint, true)
     AND coalesce(amount <= :max_amount::bigint, true)
     AND (:reference::text IS NULL OR reference = :reference::text)
   LIMIT :max_rows::int)
  UNION ALL
  (SELECT 1 FROM ledger.transfers
   WHERE credit_account = :account::bigint
     AND credit_version > :above::bigint AND credit_version <= :above::bigint + :versions::bigint
     AND (created_at_us, id) < (:before_us::bigint, :before_id::bigint)
     AND id BETWEEN :lowest_id::bigint AND :lowest_id::bigint + :id_span::bigint
     AND coalesce(kind = ANY (:kinds::ledger.transfer_kind[]), true)
     AND coalesce(debit_account = :counterparty::bigint, true)
     AND coalesce(amount >= :min_amount::bigint, true)
     AND coalesce(amount <= :max_amount::bigint, true)
     AND (:reference::text IS NULL OR reference = :reference::text)
   LIMIT :max_rows::int)
  UNION ALL
  (SELECT 1 FROM ledger.transfers
   WHERE credit_account = :account::bigint AND credit_version IS NULL
     AND created_at_us >= :start_us::bigint
     AND (created_at_us, id) < (:before_us::bigint, :before_id::bigint)
     AND id BETWEEN :lowest_id::bigint AND :lowest_id::bigint + :id_span::bigint
     AND coalesce(kind = ANY (:kinds::ledger.transfer_kind[]), true)
     AND coalesce(debit_account = :counterparty::bigint, true)
     AND coalesce(amount >= :min_amount::bigint, true)
     AND coalesce(amount <= :max_amount::bigint, true)
     AND (:reference::text IS NULL OR reference = :reference::text)
   LIMIT :max_rows::int)
  UNION ALL
  (SELECT 1 FROM ledger.declines
   WHERE :with_declines::boolean AND debit_account = :account::bigint
     AND created_at_us >= :start_us::bigint
     AND (created_at_us, id) < (:before_us::bigint, :before_id::bigint)
     AND coalesce(kind = ANY (:kinds::ledger.transfer_kind[]), true)
     AND coalesce(credit_account = :counterparty::bigint, true)
     AND coalesce(amount >= :min_amount::bigint, true)
     AND coalesce(amount <= :max_amount::bigint, true)
     AND (:reference::text IS NULL OR reference = :reference::text)
   LIMIT :max_rows::int)
  LIMIT :max_rows::int
) AS counted;

-- name: find_latest_children(ids, above)
-- The latest that followed each of the transfers, where any did: few of a page, told by their first
-- child in one search. `above` leaves out the months before any of them.
SELECT first.parent_id AS id, latest.parent_remaining, latest.parent_state
FROM ledger.transfers AS first
CROSS JOIN LATERAL (
  SELECT parent_remaining, parent_state::text
  FROM ledger.transfers
  WHERE parent_id = first.parent_id
  ORDER BY parent_sequence DESC
  LIMIT 1
) AS latest
WHERE first.parent_id = ANY (:ids::bigint[]) AND first.parent_sequence = 1
  AND first.id > :above::bigint;

-- name: list_entries(account, above, versions, lowest_id, id_span, with_holds, max_rows)
-- Oldest first: the account's entries with above < version <= above + versions. HOLD and RELEASE, which move
-- nothing, only where they are asked for.
WITH listed AS (
  SELECT *
  FROM (
    (SELECT debit_version AS version, credit_account AS counterparty, debit_balance_after AS balance,
            CASE WHEN credit_version IS NULL THEN 0 ELSE -amount END AS change, *
     FROM ledger.transfers
     WHERE debit_account = :account::bigint
       AND debit_version > :above::bigint AND debit_version <= :above::bigint + :versions::bigint
       AND id BETWEEN :lowest_id::bigint AND :lowest_id::bigint + :id_span::bigint
       AND (credit_version IS NOT NULL OR :with_holds::boolean)
     ORDER BY debit_version
     LIMIT :max_rows::int)
    UNION ALL
    (SELECT credit_version, debit_account, credit_balance_after, amount, *
     FROM ledger.transfers
     WHERE credit_account = :account::bigint
       AND credit_version > :above::bigint AND credit_version <= :above::bigint + :versions::bigint
       AND id BETWEEN :lowest_id::bigint AND :lowest_id::bigint + :id_span::bigint
     ORDER BY credit_version
     LIMIT :max_rows::int)
  ) AS merged
  ORDER BY version
  LIMIT :max_rows::int
)
SELECT listed.id, version, created_at_us, kind::text, counterparty, change, balance, reference,
       parent_id, user_id, device_id, ip_address, description, metadata::text,
       owner_key, actor_key, sealed,
       sealed IS NOT NULL AND EXISTS (
         SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key)
       ) AS erased
FROM listed
LEFT JOIN ledger.transfer_details AS details ON details.id = listed.id
ORDER BY version;
