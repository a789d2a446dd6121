-- What the rules of risk are judged by. A payer's debits are read backwards over the index
-- (debit_account, debit_version), a bounded number of them.

-- name: all_rules()
SELECT currency, daily_limit, daily_decision, new_payee_above, new_payee_decision
FROM ledger.risk_rules

-- name: stored_keys(clients, keys)
SELECT used.client, used.key
FROM unnest(:clients::text[], :keys::text[]) AS wanted (client, key)
JOIN ledger.idempotency_keys AS used
  ON ledger.key_locator(used.client, used.key) = ledger.key_locator(wanted.client, wanted.key)
  AND used.client = wanted.client AND used.key = wanted.key

-- name: debits_of_day(payers, befores, size, day_us)
-- For each payer: how many of the `size` debits below its version `before` are of the day, the
-- lowest of them, and what they come to. What a hold of the same day gave back is taken off.
SELECT asked.payer, newest.entries, newest.lowest, newest.total
FROM unnest(:payers::bigint[], :befores::bigint[]) AS asked (payer, before)
CROSS JOIN LATERAL (
  SELECT count(*) AS entries, min(debit_version) AS lowest,
         coalesce(sum(
           CASE
             WHEN kind IN ('TRANSFER', 'WITHDRAWAL', 'HOLD') THEN amount
             WHEN parent_id < ledger.first_transfer_id(to_timestamp(:day_us::bigint / 1000000))
               THEN 0
             WHEN kind = 'RELEASE' THEN -amount
             WHEN kind = 'CAPTURE' THEN -coalesce(released, 0)
             ELSE 0
           END), 0) AS total
  FROM (
    SELECT debit_version, created_at_us, kind, amount, released, parent_id
    FROM ledger.transfers
    WHERE debit_account = asked.payer AND debit_version < asked.before
    ORDER BY debit_version DESC
    LIMIT :size::int
  ) AS page
  WHERE created_at_us >= :day_us::bigint
) AS newest
