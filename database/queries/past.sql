-- What payers did before, for policy that hangs on it. Debits are read backwards over the index
-- (debit_account, debit_version), a bounded number of them, under the lock of the payer's account.

-- name: unapproved_since(payers, befores, since_us, size)
-- For each payer: how many of the `size` debits below its version `before` are not older than the
-- payer's `since_us`, the lowest of them, and what was let through of them as below policy.
SELECT asked.payer, newest.entries, newest.lowest, newest.total
FROM unnest(:payers::bigint[], :befores::bigint[], :since_us::bigint[])
  AS asked (payer, before, since_us)
CROSS JOIN LATERAL (
  SELECT count(*) AS entries, min(debit_version) AS lowest,
         coalesce(sum(amount) FILTER (WHERE step_up = 'BELOW_THRESHOLD'), 0) AS total
  FROM (
    SELECT debit_version, created_at_us, step_up, amount
    FROM ledger.transfers
    WHERE debit_account = asked.payer AND debit_version < asked.before
    ORDER BY debit_version DESC
    LIMIT :size::int
  ) AS page
  WHERE created_at_us >= asked.since_us
) AS newest

-- name: paid_before(payers, payees, depth)
-- Which of the pairs are of a payer and a payee of one of its newest `depth` debits.
SELECT DISTINCT payer.id AS payer, newest.credit_account AS payee
FROM (SELECT DISTINCT unnest(:payers::bigint[])) AS payer (id)
CROSS JOIN LATERAL (
  SELECT credit_account, kind
  FROM ledger.transfers
  WHERE debit_account = payer.id
  ORDER BY debit_version DESC
  LIMIT :depth::int
) AS newest
WHERE newest.kind IN ('TRANSFER', 'WITHDRAWAL', 'CAPTURE')
  AND (payer.id, newest.credit_account) IN (
    SELECT asked.payer, asked.payee
    FROM unnest(:payers::bigint[], :payees::bigint[]) AS asked (payer, payee)
  )
