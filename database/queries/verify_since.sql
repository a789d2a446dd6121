-- Verification of what was written since an earlier one: since what its snapshot, `since`, could see.
-- An account's entries are written one after the other under its lock, so that those which a snapshot
-- does not see are the last of their account, whatever their ids.

-- name: last_verification()^
SELECT id, epoch, xid, journal_id, snapshot
FROM ledger.verifications
ORDER BY id DESC
LIMIT 1

-- name: allow_record()!
SET TRANSACTION READ WRITE

-- name: record(epoch, xid, journal_id, snapshot, since, checks)!
INSERT INTO ledger.verifications (epoch, xid, journal_id, snapshot, since, checks)
VALUES (:epoch::bigint, :xid::xid8, :journal_id::bigint, :snapshot::pg_snapshot,
        :since::bigint, :checks::jsonb)

-- name: find_fresh(since, xid, journal_id, settled_us)^
-- The lowest id that a row can have which was stored since, and that a journal row can have: a
-- journal row's own id is taken before those of what it lists. And from which transaction on journal
-- rows may list like ids: those of the time that a posting can last, before.
WITH fresh AS MATERIALIZED (
  SELECT xid, id, created_at_us, transfers, declines
  FROM ledger.journal
  WHERE xid >= pg_snapshot_xmin(:since::pg_snapshot)
    AND NOT pg_visible_in_snapshot(xid, :since::pg_snapshot)
), items AS (
  SELECT unnest(transfers || declines) AS id FROM fresh
), bounds AS (
  SELECT least(min(id), :journal_id::bigint + 1) AS low, max(id) AS high FROM items
), before AS (
  SELECT xid, created_at_us
  FROM ledger.journal
  WHERE xid <= :xid::xid8
  ORDER BY xid DESC, id DESC
  LIMIT 1
)
SELECT (SELECT least(bounds.low, (
          SELECT min(group_id) FROM ledger.transfers
          WHERE id >= bounds.low AND id <= bounds.high AND group_id IS NOT NULL))
        FROM bounds) AS low,
       (SELECT least(min(id), :journal_id::bigint + 1) FROM fresh) AS from_journal,
       coalesce((
         SELECT xid FROM ledger.journal
         WHERE xid < least((SELECT min(xid) FROM fresh), (SELECT xid FROM before))
           AND created_at_us < least((SELECT min(created_at_us) FROM fresh),
                                     (SELECT created_at_us FROM before)) - :settled_us::bigint
         ORDER BY xid DESC LIMIT 1), '0'::xid8) AS overlap

-- name: older_parents(low, after, most)
-- Parents below `low` of transfers from `low` on, a page at a time.
SELECT DISTINCT parent_id
FROM ledger.transfers
WHERE id >= :low::bigint AND parent_id > :after::bigint AND parent_id < :low::bigint
ORDER BY parent_id
LIMIT :most::int

-- name: check_fresh_chains(since, low)
-- The new entries of each account follow on one another and on the one before the first of them; none
-- is there twice; and the stored account is as the last one left it.
WITH fresh AS MATERIALIZED (
  SELECT DISTINCT item
  FROM (
    SELECT unnest(transfers) AS item
    FROM ledger.journal
    WHERE xid >= pg_snapshot_xmin(:since::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, :since::pg_snapshot)
  ) AS listed
), moved AS MATERIALIZED (
  SELECT one.*
  FROM fresh
  JOIN ledger.transfers AS one ON one.id = fresh.item
  WHERE one.id >= :low::bigint
), legs AS (
  SELECT debit_account AS account, debit_version AS version, id AS transfer,
         CASE WHEN credit_version IS NULL THEN 0 ELSE -amount END AS change,
         debit_balance_after AS balance_after,
         CASE kind WHEN 'HOLD' THEN amount
                   WHEN 'RELEASE' THEN -amount
                   WHEN 'CAPTURE' THEN -amount - coalesce(released, 0)
                   ELSE 0 END AS held_change,
         debit_held_after AS held_after, created_at_us
  FROM moved
  UNION ALL
  SELECT credit_account, credit_version, id, amount, credit_balance_after, 0, NULL, created_at_us
  FROM moved
  WHERE credit_version IS NOT NULL
), ordered AS (
  SELECT *,
         version IS DISTINCT FROM lag(version) OVER chain + 1 AS starts,
         lag(version) OVER chain AS version_lag,
         lag(balance_after) OVER chain AS balance_lag,
         lag(created_at_us) OVER chain AS time_lag,
         lead(version) OVER chain IS NULL AS last
  FROM legs
  WINDOW chain AS (PARTITION BY account ORDER BY version, transfer)
), anchored AS (
  SELECT ordered.*, anchor.*, before.held AS anchor_held, twins.entries AS twins,
         sum(starts::int) OVER (PARTITION BY account ORDER BY version, transfer) AS run
  FROM ordered
  LEFT JOIN LATERAL (
    SELECT count(*) AS anchors, max(balance) AS anchor_balance, max(time_us) AS anchor_us
    FROM (
      SELECT debit_balance_after AS balance, created_at_us AS time_us
      FROM ledger.transfers
      WHERE debit_account = ordered.account AND debit_version = ordered.version - 1
      UNION ALL
      SELECT credit_balance_after, created_at_us
      FROM ledger.transfers
      WHERE credit_account = ordered.account AND credit_version = ordered.version - 1
    ) AS sides
  ) AS anchor ON ordered.starts
  LEFT JOIN LATERAL (
    SELECT debit_held_after AS held
    FROM ledger.transfers
    WHERE debit_account = ordered.account AND debit_version < ordered.version
    ORDER BY debit_version DESC
    LIMIT 1
  ) AS before ON ordered.starts
  LEFT JOIN LATERAL (
    SELECT count(*) AS entries
    FROM (
      SELECT FROM ledger.transfers
      WHERE debit_account = ordered.account AND debit_version = ordered.version
      UNION ALL
      SELECT FROM ledger.transfers
      WHERE credit_account = ordered.account AND credit_version = ordered.version
    ) AS sides
  ) AS twins ON ordered.starts
), steps AS (
  SELECT account, version, transfer, change, balance_after, held_after, created_at_us, last,
         starts, twins,
         sum(held_change) OVER run
           + coalesce(first_value(anchor_held) OVER run, 0) AS held,
         CASE WHEN starts THEN version - anchors ELSE version_lag + 1 END AS follows,
         anchors,
         CASE WHEN starts THEN coalesce(anchor_balance, 0) ELSE balance_lag END AS balance_before,
         CASE WHEN starts THEN anchor_us ELSE time_lag END AS time_before_us
  FROM anchored
  WINDOW run AS (PARTITION BY account, run ORDER BY version, transfer ROWS UNBOUNDED PRECEDING)
), changes AS (
  SELECT substr(subject, 9)::bigint AS account,
         coalesce((after ->> 'version')::bigint, (
           SELECT max(version)
           FROM (
             SELECT debit_version AS version FROM ledger.transfers
             WHERE debit_account = substr(subject, 9)::bigint
               AND created_at_us <= audit.created_at_us
             UNION ALL
             SELECT credit_version FROM ledger.transfers
             WHERE credit_account = substr(subject, 9)::bigint
               AND created_at_us <= audit.created_at_us
           ) AS earlier), 0) AS version,
         (before ->> 'overdraft_limit')::numeric AS limit_before,
         (after ->> 'overdraft_limit')::numeric AS limit_after,
         row_number() OVER (PARTITION BY subject ORDER BY (after ->> 'revision')::bigint, id)
           AS number
  FROM ledger.audit
  WHERE subject ~ '^account/[0-9]{1,19}$' AND after ? 'overdraft_limit'
), limits AS (
  SELECT account, version AS after_version,
         lead(version) OVER (PARTITION BY account ORDER BY number) AS to_version,
         limit_after AS overdraft_limit
  FROM changes
  UNION ALL
  SELECT account, -1, version, limit_before FROM changes
  WHERE number = 1 AND limit_before IS NOT NULL
), judged AS MATERIALIZED (
  SELECT step.account, step.version, transfer, change, balance_after, held_after, created_at_us,
         last, held, balance_before, time_before_us,
         CASE WHEN starts THEN anchors <> CASE WHEN step.version = 1 THEN 0 ELSE 1 END
                               OR twins <> 1
              ELSE step.version <> follows END AS gap,
         balance_after <> balance_before::numeric + change AS off,
         held_after <> held OR held < 0 AS mishold,
         created_at_us <= time_before_us AS early,
         owned.kind = 'CUSTOMER'
           AND balance_after - held < -coalesce(limits.overdraft_limit, owned.overdraft_limit)
           AS low,
         owned.id IS NULL AS missing, stored_balance, stored_held, stored_version,
         stored_last_entry_us
  FROM steps AS step
  LEFT JOIN (
    SELECT id, kind, overdraft_limit, balance AS stored_balance, held AS stored_held,
           version AS stored_version, last_entry_us AS stored_last_entry_us
    FROM ledger.accounts
  ) AS owned ON owned.id = step.account
  LEFT JOIN limits
    ON limits.account = step.account AND step.version > limits.after_version
    AND (limits.to_version IS NULL OR step.version <= limits.to_version)
), untrue AS (
  SELECT account, missing, stored_balance, balance_after AS balance, stored_held, held,
         stored_version, version, stored_last_entry_us, created_at_us AS last_entry_us
  FROM judged
  WHERE last
    AND (missing
      OR version > stored_version
      OR version = stored_version
         AND (balance_after, held, created_at_us)
             IS DISTINCT FROM (stored_balance, stored_held::numeric, stored_last_entry_us)
      -- What follows on it is older than the position that was given, and is one entry.
      OR version < stored_version AND 1 <> (
        SELECT count(*)
        FROM (
          SELECT FROM ledger.transfers
          WHERE debit_account = judged.account AND debit_version = judged.version + 1
          UNION ALL
          SELECT FROM ledger.transfers
          WHERE credit_account = judged.account AND credit_version = judged.version + 1
        ) AS sides))
)
SELECT 'versions' AS finding,
       (SELECT count(*) FROM judged) AS examined,
       (SELECT count(*) FROM judged WHERE gap) AS violations,
       (SELECT jsonb_build_object('account', account, 'version', version, 'transfer', transfer)
        FROM judged WHERE gap ORDER BY account, version LIMIT 1) AS first_violation
UNION ALL
SELECT 'balances', (SELECT count(*) FROM judged), (SELECT count(*) FROM judged WHERE off),
       (SELECT jsonb_build_object('account', account, 'version', version, 'transfer', transfer,
                                  'balance_before', balance_before, 'change', change,
                                  'balance_after', balance_after)
        FROM judged WHERE off ORDER BY account, version LIMIT 1)
UNION ALL
SELECT 'held_after', (SELECT count(*) FROM judged), (SELECT count(*) FROM judged WHERE mishold),
       (SELECT jsonb_build_object('account', account, 'version', version, 'transfer', transfer,
                                  'held', held, 'held_after', held_after)
        FROM judged WHERE mishold ORDER BY account, version LIMIT 1)
UNION ALL
SELECT 'times', (SELECT count(*) FROM judged), (SELECT count(*) FROM judged WHERE early),
       (SELECT jsonb_build_object('account', account, 'version', version, 'transfer', transfer,
                                  'created_at_us', created_at_us, 'entry_before_us', time_before_us)
        FROM judged WHERE early ORDER BY account, version LIMIT 1)
UNION ALL
SELECT 'floors', (SELECT count(*) FROM judged), (SELECT count(*) FROM judged WHERE low),
       (SELECT jsonb_build_object('account', account, 'version', version, 'transfer', transfer,
                                  'balance', balance_after, 'held', held)
        FROM judged WHERE low ORDER BY account, version LIMIT 1)
UNION ALL
SELECT 'accounts', (SELECT count(*) FROM judged WHERE last), (SELECT count(*) FROM untrue),
       (SELECT to_jsonb(untrue) FROM untrue ORDER BY account LIMIT 1)

-- name: check_fresh_key_uniqueness(since, from_journal)
-- No key that is new was used before, nor twice since. Found by the locator that the unique index is
-- on: where that is gone, by a look at all keys.
WITH fresh AS MATERIALIZED (
  SELECT DISTINCT client, key
  FROM ledger.idempotency_keys
  WHERE journal_id >= :from_journal::bigint
    AND journal_xid >= pg_snapshot_xmin(:since::pg_snapshot)
    AND NOT pg_visible_in_snapshot(journal_xid, :since::pg_snapshot)
), doubled AS (
  SELECT fresh.client, fresh.key, count(*) AS keys, min(used.outcome_id) AS id
  FROM fresh
  JOIN ledger.idempotency_keys AS used
    ON ledger.key_locator(used.client, used.key) = ledger.key_locator(fresh.client, fresh.key)
    AND used.client = fresh.client AND used.key = fresh.key
  GROUP BY fresh.client, fresh.key
  HAVING count(*) > 1
)
SELECT 'keys' AS finding, 0::bigint AS examined,
       (SELECT count(*) FROM doubled) AS violations,
       (SELECT to_jsonb(doubled) FROM doubled ORDER BY client, key LIMIT 1) AS first_violation

-- name: check_fresh_outcomes(since, low, from_journal, overlap)
-- The same as for the whole ledger: what new journal rows list, what is stored with ids like theirs,
-- and the keys that give their positions.
WITH near AS (
  SELECT xid, id, transfers, declines, accounts,
         xid >= pg_snapshot_xmin(:since::pg_snapshot)
           AND NOT pg_visible_in_snapshot(xid, :since::pg_snapshot) AS fresh
  FROM ledger.journal
  WHERE xid >= :overlap::xid8
), listed AS MATERIALIZED (
  SELECT unnest(transfers) AS id, 'TRANSFER'::ledger.outcome_kind AS outcome, fresh, xid,
         id AS journal_id
  FROM near
  UNION ALL
  SELECT unnest(declines), 'DECLINE', fresh, xid, id FROM near
  UNION ALL
  SELECT unnest(accounts), 'ACCOUNT', fresh, xid, id FROM near WHERE fresh
), keyed AS MATERIALIZED (
  SELECT used.outcome_id AS id, used.outcome, used.client, used.key, used.journal_xid AS xid,
         used.journal_id,
         used.journal_xid >= pg_snapshot_xmin(:since::pg_snapshot)
           AND NOT pg_visible_in_snapshot(used.journal_xid, :since::pg_snapshot) AS fresh
  FROM ledger.idempotency_keys AS used
  WHERE used.journal_id >= :from_journal::bigint
), stored AS (
  SELECT id, 'TRANSFER'::ledger.outcome_kind AS outcome, client, group_id IS NOT NULL AS grouped
  FROM ledger.transfers
  WHERE id >= :low::bigint
  UNION ALL
  SELECT id, 'DECLINE', client, false FROM ledger.declines WHERE id >= :low::bigint
  UNION ALL
  SELECT id, 'GROUP', client, false FROM ledger.transfer_groups WHERE id >= :low::bigint
), sides AS MATERIALIZED (
  SELECT id, outcome, sum(stored) AS outcomes, sum(used) AS keys, sum(listed) AS rows,
         bool_or(grouped) AS grouped, bool_or(fresh) AS fresh,
         min(client) <> max(client) AS stranger,
         min(xid) <> max(xid) OR min(journal_id) <> max(journal_id) AS elsewhere
  FROM (
    SELECT id, outcome, 1 AS stored, 0 AS used, 0 AS listed, grouped, NULL::boolean AS fresh,
           client, NULL::xid8 AS xid, NULL::bigint AS journal_id
    FROM stored
    UNION ALL
    SELECT id, outcome, 0, 1, 0, false, fresh, client, xid, journal_id
    FROM keyed
    WHERE outcome IN ('TRANSFER', 'DECLINE', 'GROUP')
    UNION ALL
    SELECT id, outcome, 0, 0, 1, false, fresh, NULL, xid, journal_id
    FROM listed
    WHERE outcome <> 'ACCOUNT'
  ) AS all_sides
  GROUP BY id, outcome
), miskeyed AS (
  -- Of rows near by that are not new the keys were not looked for.
  SELECT id, outcome, outcomes, keys, stranger FROM sides
  WHERE fresh AND (
    keys <> CASE WHEN grouped OR outcomes = 0 THEN 0 ELSE 1 END OR outcomes > 1 OR stranger)
  UNION ALL
  SELECT keyed.id, keyed.outcome, 0, 1, false
  FROM keyed
  LEFT JOIN ledger.accounts AS account ON account.id = keyed.id
  WHERE keyed.fresh AND keyed.outcome NOT IN ('TRANSFER', 'DECLINE', 'GROUP', 'POLICY')
    AND (account.id IS NULL OR keyed.outcome = 'ACCOUNT' AND account.opened_by <> keyed.client)
  UNION ALL
  SELECT team.id, 'GROUP', 1, 0, false
  FROM ledger.transfer_groups AS team
  LEFT JOIN keyed ON keyed.id = team.id
  JOIN listed ON listed.id = team.transfers[1] AND listed.fresh
  WHERE team.id >= :low::bigint AND keyed.id IS NULL
), misfiled AS (
  SELECT id, outcome, outcomes, rows AS journal_rows FROM sides
  WHERE outcome <> 'GROUP' AND (outcomes = 1 AND rows = 0 AND coalesce(fresh, true)
    OR fresh AND (outcomes <> rows OR rows > 1))
  UNION ALL
  SELECT listed.id, listed.outcome, 0, 1
  FROM listed
  LEFT JOIN ledger.accounts AS account ON account.id = listed.id
  WHERE listed.outcome = 'ACCOUNT' AND account.id IS NULL
), misplaced AS (
  SELECT id, outcome FROM sides
  WHERE fresh AND (elsewhere OR keys > 0 AND rows = 0 AND outcome <> 'GROUP')
  UNION ALL
  SELECT keyed.id, keyed.outcome
  FROM keyed
  LEFT JOIN listed
    ON listed.id = keyed.id AND listed.outcome = 'ACCOUNT' AND listed.xid = keyed.xid
    AND listed.journal_id = keyed.journal_id
  WHERE keyed.fresh AND keyed.outcome NOT IN ('TRANSFER', 'DECLINE', 'GROUP', 'POLICY')
    AND listed.id IS NULL
)
SELECT 'keys' AS finding,
       (SELECT count(*) FROM keyed WHERE fresh) AS examined,
       (SELECT count(*) FROM miskeyed) AS violations,
       (SELECT to_jsonb(miskeyed) FROM miskeyed ORDER BY id LIMIT 1) AS first_violation
UNION ALL
SELECT 'journal',
       (SELECT count(*) FROM listed WHERE fresh),
       (SELECT count(*) FROM misfiled),
       (SELECT to_jsonb(misfiled) FROM misfiled ORDER BY id LIMIT 1)
UNION ALL
SELECT 'positions',
       (SELECT count(*) FROM keyed WHERE fresh),
       (SELECT count(*) FROM misplaced),
       (SELECT to_jsonb(misplaced) FROM misplaced ORDER BY id LIMIT 1)
