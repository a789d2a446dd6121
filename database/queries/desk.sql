-- What waits for an operator, read as paycore_audit.

-- name: waiting_reviews(most)
-- Payments that are held for a review, the oldest first.
SELECT held.id, held.review, held.debit_account, held.credit_account, held.amount, held.currency,
       held.client, held.reference, held.created_at_us
FROM ledger.open_holds AS waiting
-- One by one: a join of the whole would read transfers that were never held.
CROSS JOIN LATERAL (SELECT * FROM ledger.transfers WHERE id = waiting.id LIMIT 1) AS held
WHERE held.review IS NOT NULL
ORDER BY waiting.id
LIMIT :most::int

-- name: short_reversals(most)
-- Transfers whose reversal was declined for want of money and that nothing has followed yet, by the
-- latest of the declines.
SELECT latest.id, latest.parent_id, latest.debit_account, latest.credit_account, latest.amount,
       latest.currency, latest.client, latest.created_at_us,
       payer.balance - payer.held + payer.overdraft_limit AS available
FROM (
  SELECT DISTINCT ON (parent_id)
         id, parent_id, debit_account, credit_account, amount, currency, client, created_at_us
  FROM ledger.declines
  WHERE kind = 'REVERSAL' AND reason = 'INSUFFICIENT_FUNDS'
  ORDER BY parent_id, id DESC
) AS latest
JOIN ledger.accounts AS payer ON payer.id = latest.debit_account
WHERE NOT EXISTS (SELECT FROM ledger.transfers AS child WHERE child.parent_id = latest.parent_id)
ORDER BY latest.parent_id
LIMIT :most::int
