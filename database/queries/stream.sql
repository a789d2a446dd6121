-- What the events of the stream are made of, as role paycore_projector. Of rows that never change:
-- the same event can be made again at any time.

-- name: load_transfers(ids)
-- What each event tells but for its places, as JSON: paycore/domain/stream.py has the order.
SELECT moved.id, json_build_array(
         'TRANSFER', CASE moved.kind WHEN 'HOLD' THEN 'HELD' ELSE 'POSTED' END, moved.id::text,
         moved.kind::text, moved.currency, moved.amount::text, moved.debit_account::text,
         moved.credit_account::text, moved.debit_version::text,
         coalesce(moved.credit_version::text, ''), coalesce(payer.institution, ''),
         coalesce(payee.institution, ''), coalesce(moved.parent_id::text, ''),
         coalesce(moved.parent_state::text, ''), coalesce(moved.released::text, ''),
         coalesce(moved.group_id::text, ''), '', moved.created_at_us::text)::text AS told
FROM ledger.transfers AS moved
LEFT JOIN ledger.accounts AS payer ON payer.id = moved.debit_account
LEFT JOIN ledger.accounts AS payee ON payee.id = moved.credit_account
WHERE moved.id = ANY (:ids::bigint[])

-- name: load_declines(ids)
SELECT refused.id, json_build_array(
         'DECLINE', 'FAILED', refused.id::text, refused.kind::text, refused.currency,
         refused.amount::text, refused.debit_account::text, refused.credit_account::text, '', '',
         coalesce(payer.institution, ''), coalesce(payee.institution, ''),
         coalesce(refused.parent_id::text, ''), '', '', coalesce(refused.group_id::text, ''),
         refused.reason, refused.created_at_us::text)::text AS told
FROM ledger.declines AS refused
LEFT JOIN ledger.accounts AS payer ON payer.id = refused.debit_account
LEFT JOIN ledger.accounts AS payee ON payee.id = refused.credit_account
WHERE refused.id = ANY (:ids::bigint[])

-- name: items_before(xid, id)$
-- How many transfers and declines the rows of transaction `xid` name before row `id`: one row a
-- transaction is what the services write, and nothing in the tables' way of more.
SELECT coalesce(sum(cardinality(transfers) + cardinality(declines)), 0)::bigint
FROM ledger.journal
WHERE xid = :xid::xid8 AND id < :id::bigint

-- name: last_event(xid, id)^
-- The transaction of the last transfer or decline up to a place of the journal, and its number
-- within that.
SELECT last.xid, (
         SELECT sum(cardinality(transfers) + cardinality(declines))::bigint
         FROM ledger.journal AS same
         WHERE same.xid = last.xid AND same.id <= last.id) AS ordinal
FROM (
  SELECT xid, id
  FROM ledger.journal
  WHERE (xid, id) <= (:xid::xid8, :id::bigint)
    AND (transfers <> '{}' OR declines <> '{}')
  ORDER BY xid DESC, id DESC
  LIMIT 1
) AS last

-- name: items_in(xid)$
-- How many transfers and declines transaction `xid` has.
SELECT coalesce(sum(cardinality(transfers) + cardinality(declines)), 0)::bigint
FROM ledger.journal
WHERE xid = :xid::xid8

-- name: fill_from(most)^
-- The row behind which the journal has at most so many transfers and declines, and rows; none where
-- it is shorter.
SELECT xid, id
FROM (
  SELECT xid, id,
         sum(cardinality(transfers) + cardinality(declines)) OVER latest AS items,
         row_number() OVER latest AS number
  FROM (
    SELECT xid, id, transfers, declines
    FROM ledger.journal
    WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY xid DESC, id DESC
    LIMIT :most::int + 1
  ) AS newest
  WINDOW latest AS (ORDER BY xid DESC, id DESC)
) AS counted
WHERE items > :most::int OR number > :most::int
ORDER BY xid DESC, id DESC
LIMIT 1
