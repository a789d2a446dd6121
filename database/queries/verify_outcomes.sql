-- Keys, outcomes and journal against each other.

-- name: check_outcomes(slice, slices)
-- Every transfer, decline and group has exactly one key, of the client that asked; those of a group
-- have the group's. Each stands in exactly one journal row, none names what does not exist, and the
-- position that a key gives to its caller is that of the row.
WITH counted AS MATERIALIZED (
  SELECT id, outcome, sum(stored) AS outcomes, sum(used) AS keys, sum(listed) AS rows,
         bool_or(grouped) AS grouped,
         min(client) <> max(client) AS stranger,
         min(xid) <> max(xid) OR min(journal_id) <> max(journal_id) AS elsewhere
  FROM (
    SELECT id, 'TRANSFER'::ledger.outcome_kind AS outcome, 1 AS stored, 0 AS used, 0 AS listed,
           group_id IS NOT NULL AS grouped, client, NULL::xid8 AS xid, NULL::bigint AS journal_id
    FROM ledger.transfers
    WHERE :slices::int = 1 OR abs(hashint8(id)::bigint) % :slices::int = :slice::int
    UNION ALL
    SELECT id, 'DECLINE', 1, 0, 0, false, client, NULL, NULL
    FROM ledger.declines
    WHERE :slices::int = 1 OR abs(hashint8(id)::bigint) % :slices::int = :slice::int
    UNION ALL
    SELECT id, 'GROUP', 1, 0, 0, false, client, NULL, NULL
    FROM ledger.transfer_groups
    WHERE :slices::int = 1 OR abs(hashint8(id)::bigint) % :slices::int = :slice::int
    UNION ALL
    SELECT outcome_id, outcome, 0, 1, 0, false, client, journal_xid, journal_id
    FROM ledger.idempotency_keys
    WHERE outcome IN ('TRANSFER', 'DECLINE', 'GROUP')
      AND (:slices::int = 1 OR abs(hashint8(outcome_id)::bigint) % :slices::int = :slice::int)
    UNION ALL
    SELECT item, 'TRANSFER', 0, 0, 1, false, NULL, xid, id
    FROM (SELECT xid, id, unnest(transfers) AS item FROM ledger.journal) AS listed
    WHERE :slices::int = 1 OR abs(hashint8(item)::bigint) % :slices::int = :slice::int
    UNION ALL
    SELECT item, 'DECLINE', 0, 0, 1, false, NULL, xid, id
    FROM (SELECT xid, id, unnest(declines) AS item FROM ledger.journal) AS listed
    WHERE :slices::int = 1 OR abs(hashint8(item)::bigint) % :slices::int = :slice::int
  ) AS all_sides
  GROUP BY id, outcome
), miskeyed AS (
  SELECT id, outcome, outcomes, keys, stranger FROM counted
  WHERE outcomes <> 1 AND keys > 0 OR keys <> CASE WHEN grouped THEN 0 ELSE 1 END AND outcomes > 0
     OR outcomes > 1 OR stranger
), misfiled AS (
  SELECT id, outcome, outcomes, rows AS journal_rows FROM counted
  WHERE outcome <> 'GROUP' AND (outcomes <> rows OR rows > 1)
), misplaced AS (
  SELECT id, outcome FROM counted WHERE elsewhere OR keys > 0 AND rows = 0 AND outcome <> 'GROUP'
)
SELECT 'keys' AS finding,
       (SELECT coalesce(sum(keys), 0)::bigint FROM counted) AS examined,
       (SELECT count(*) FROM miskeyed) AS violations,
       (SELECT to_jsonb(miskeyed) FROM miskeyed ORDER BY id LIMIT 1) AS first_violation
UNION ALL
SELECT 'journal',
       (SELECT coalesce(sum(rows), 0)::bigint FROM counted),
       (SELECT count(*) FROM misfiled),
       (SELECT to_jsonb(misfiled) FROM misfiled ORDER BY id LIMIT 1)
UNION ALL
SELECT 'positions',
       (SELECT coalesce(sum(keys), 0)::bigint FROM counted WHERE outcome <> 'GROUP'),
       (SELECT count(*) FROM misplaced),
       (SELECT to_jsonb(misplaced) FROM misplaced ORDER BY id LIMIT 1)

-- name: check_key_uniqueness(slice, slices)
-- A client's key is stored once, by whatever index: the rows themselves are compared.
WITH doubled AS (
  SELECT client, key, count(*) AS keys, min(outcome_id) AS id
  FROM ledger.idempotency_keys
  WHERE :slices::int = 1 OR abs(hashtext(key)::bigint) % :slices::int = :slice::int
  GROUP BY client, key
  HAVING count(*) > 1
)
SELECT 'keys' AS finding, 0::bigint AS examined,
       (SELECT count(*) FROM doubled) AS violations,
       (SELECT to_jsonb(doubled) FROM doubled ORDER BY client, key LIMIT 1) AS first_violation

-- name: check_group_positions(low, high, from_journal)
-- A group's key gives the position of the journal row that lists all its transfers. Keys of rows
-- before `from_journal` are left out.
WITH placed AS (
  SELECT team.id, team.transfers, row.transfers AS listed
  FROM ledger.transfer_groups AS team
  JOIN ledger.idempotency_keys AS used
    ON used.outcome_id = team.id AND used.outcome = 'GROUP'
    AND used.journal_id >= :from_journal::bigint
  LEFT JOIN ledger.journal AS row ON row.xid = used.journal_xid AND row.id = used.journal_id
  WHERE team.id >= :low::bigint AND team.id < :high::bigint
), misplaced AS (
  SELECT id, 'GROUP' AS outcome
  FROM placed
  WHERE listed IS NULL
     OR EXISTS (SELECT unnest(placed.transfers) EXCEPT SELECT unnest(placed.listed))
)
SELECT 'positions' AS finding,
       (SELECT count(*) FROM placed) AS examined,
       (SELECT count(*) FROM misplaced) AS violations,
       (SELECT to_jsonb(misplaced) FROM misplaced ORDER BY id LIMIT 1) AS first_violation

-- name: check_account_outcomes()
-- Every account was opened under one key of the client that opened it; every key of an account has
-- a journal row that lists it; and it is listed no more often than it was opened and changed.
WITH keyed AS (
  SELECT outcome_id AS account, client, key, outcome, journal_xid, journal_id
  FROM ledger.idempotency_keys
  WHERE outcome NOT IN ('TRANSFER', 'DECLINE', 'GROUP', 'POLICY')
), listed AS (
  SELECT unnest(accounts) AS account, xid, id
  FROM ledger.journal
  WHERE accounts <> '{}'
), by_key AS (
  SELECT account, count(*) AS keys, count(*) FILTER (WHERE outcome = 'ACCOUNT') AS openings,
         min(client) FILTER (WHERE outcome = 'ACCOUNT') AS client
  FROM keyed
  GROUP BY account
), by_row AS (
  SELECT account, count(*) AS rows FROM listed GROUP BY account
), counted AS MATERIALIZED (
  SELECT coalesce(stored.id, by_key.account, by_row.account) AS id,
         (stored.id IS NOT NULL)::int AS outcomes, stored.revision,
         stored.opened_by <> by_key.client AS stranger,
         coalesce(by_key.openings, 0) AS openings, coalesce(by_key.keys, 0) AS keys,
         coalesce(by_row.rows, 0) AS rows
  FROM (SELECT id, opened_by, revision FROM ledger.accounts) AS stored
  FULL JOIN by_key ON by_key.account = stored.id
  FULL JOIN by_row ON by_row.account = coalesce(stored.id, by_key.account)
), miskeyed AS (
  SELECT id, 'ACCOUNT' AS outcome, outcomes, keys, stranger FROM counted
  WHERE outcomes = 0 AND keys > 0 OR outcomes = 1 AND openings <> 1 OR stranger
), misfiled AS (
  SELECT id, 'ACCOUNT' AS outcome, outcomes, rows AS journal_rows FROM counted
  WHERE outcomes = 0 AND rows > 0 OR outcomes = 1 AND rows = 0
     OR rows > greatest(1 + revision, keys)
), misplaced AS (
  SELECT keyed.client, keyed.key, keyed.outcome, keyed.account AS id
  FROM keyed
  LEFT JOIN listed
    ON listed.account = keyed.account AND listed.xid = keyed.journal_xid
    AND listed.id = keyed.journal_id
  WHERE listed.account IS NULL
)
SELECT 'keys' AS finding,
       (SELECT coalesce(sum(keys), 0)::bigint FROM counted) AS examined,
       (SELECT count(*) FROM miskeyed) AS violations,
       (SELECT to_jsonb(miskeyed) FROM miskeyed ORDER BY id LIMIT 1) AS first_violation
UNION ALL
SELECT 'journal',
       (SELECT coalesce(sum(rows), 0)::bigint FROM counted),
       (SELECT count(*) FROM misfiled),
       (SELECT to_jsonb(misfiled) FROM misfiled ORDER BY id LIMIT 1)
UNION ALL
SELECT 'positions',
       (SELECT count(*) FROM keyed),
       (SELECT count(*) FROM misplaced),
       (SELECT to_jsonb(misplaced) FROM misplaced ORDER BY id LIMIT 1)
