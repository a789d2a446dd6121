-- Recomputes the whole ledger, as role paycore_audit, in one snapshot. Each check returns what it
-- examined, how many violations it found, and the first of them. A check reads its tables once, in
-- sorts and hashes that spill to disk, so that memory is bounded by work_mem whatever the size.

-- name: widen_sorts()!
SET LOCAL work_mem = '64MB'

-- name: snapshot_position()^
-- The last journal row below the watermark: everything up to it is in this snapshot. `complete`
-- tells that nothing above it is.
SELECT epoch.epoch,
       coalesce(last.xid, '0'::xid8) AS xid,
       coalesce(last.id, 0) AS journal_id,
       NOT EXISTS (
         SELECT FROM ledger.journal WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())
       ) AS complete
FROM ledger.epoch
LEFT JOIN LATERAL (
  SELECT xid, id FROM ledger.journal
  WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
  ORDER BY xid DESC, id DESC
  LIMIT 1
) AS last ON true

-- name: newest_position()^
SELECT xid, id AS journal_id FROM ledger.journal ORDER BY xid DESC, id DESC LIMIT 1

-- name: totals(before_us)
-- Count and sum of what was posted, by kind, and of what was declined, per currency, up to a time.
SELECT kind::text AS state, currency, count(*) AS items, sum(amount) AS total
FROM ledger.transfers
WHERE created_at_us < :before_us::bigint
GROUP BY kind, currency
UNION ALL
SELECT 'FAILED', currency, count(*), sum(amount)
FROM ledger.declines
WHERE created_at_us < :before_us::bigint
GROUP BY currency
ORDER BY state, currency

-- name: check_sums()^
-- Money is neither made nor lost: the balances of each currency add up to zero.
WITH sums AS (
  SELECT currency, count(*) AS accounts, sum(balance) AS total
  FROM ledger.accounts
  GROUP BY currency
), bad AS (
  SELECT currency, accounts, total FROM sums WHERE total <> 0
)
SELECT (SELECT count(*) FROM sums) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY currency LIMIT 1) AS first_violation

-- name: check_chains()
-- Both sides of every transfer, account by account in order of version: one pass, four findings.
-- Sums are numeric, so that no wrong figure can overflow the check itself.
WITH steps AS (
  SELECT account, version, transfer, change, balance_after, created_at_us,
         lag(version, 1, 0::bigint) OVER chain AS version_before,
         lag(balance_after, 1, 0::bigint) OVER chain AS balance_before,
         lag(created_at_us) OVER chain AS time_before_us
  FROM ledger.entries
  WINDOW chain AS (PARTITION BY account ORDER BY version)
), judged AS (
  SELECT *,
         version <> version_before + 1 AS gap,
         balance_after <> balance_before::numeric + change AS off,
         created_at_us <= time_before_us AS early
  FROM steps
), chains AS (
  SELECT account,
         count(*) AS entries,
         max(version) AS version,
         sum(change) AS balance,
         max(created_at_us) AS last_entry_us,
         count(*) FILTER (WHERE gap) AS gaps,
         min(ARRAY[version, version_before, transfer]) FILTER (WHERE gap) AS gap,
         count(*) FILTER (WHERE off) AS offs,
         min(ARRAY[version, transfer, balance_before, change, balance_after])
           FILTER (WHERE off) AS off,
         count(*) FILTER (WHERE early) AS earlies,
         min(ARRAY[version, transfer, created_at_us, time_before_us])
           FILTER (WHERE early) AS early
  FROM judged
  GROUP BY account
), compared AS (
  SELECT coalesce(stored.id, chain.account) AS account,
         stored.id IS NULL AS missing,
         stored.balance AS stored_balance, coalesce(chain.balance, 0) AS balance,
         stored.version AS stored_version, coalesce(chain.version, 0) AS version,
         stored.last_entry_us AS stored_last_entry_us,
         coalesce(chain.last_entry_us, 0) AS last_entry_us,
         coalesce(chain.entries, 0) AS entries,
         chain.gaps, chain.gap, chain.offs, chain.off, chain.earlies, chain.early
  FROM ledger.accounts AS stored
  FULL JOIN chains AS chain ON chain.account = stored.id
), untrue AS (
  SELECT account, missing, stored_balance, balance, stored_version, version,
         stored_last_entry_us, last_entry_us
  FROM compared
  WHERE missing
     OR stored_balance <> balance
     OR stored_version <> version
     OR stored_last_entry_us <> last_entry_us
)
SELECT 'versions' AS finding,
       (SELECT sum(entries)::bigint FROM compared) AS examined,
       (SELECT sum(gaps)::bigint FROM compared) AS violations,
       (SELECT jsonb_build_object('account', account, 'version', gap[1], 'follows', gap[2],
                                  'transfer', gap[3])
        FROM compared WHERE gaps > 0 ORDER BY account LIMIT 1) AS first_violation
UNION ALL
SELECT 'balances',
       (SELECT sum(entries)::bigint FROM compared),
       (SELECT sum(offs)::bigint FROM compared),
       (SELECT jsonb_build_object('account', account, 'version', off[1], 'transfer', off[2],
                                  'balance_before', off[3], 'change', off[4],
                                  'balance_after', off[5])
        FROM compared WHERE offs > 0 ORDER BY account LIMIT 1)
UNION ALL
SELECT 'times',
       (SELECT sum(entries)::bigint FROM compared),
       (SELECT sum(earlies)::bigint FROM compared),
       (SELECT jsonb_build_object('account', account, 'version', early[1], 'transfer', early[2],
                                  'created_at_us', early[3], 'entry_before_us', early[4])
        FROM compared WHERE earlies > 0 ORDER BY account LIMIT 1)
UNION ALL
SELECT 'accounts',
       (SELECT count(*) FROM compared),
       (SELECT count(*) FROM untrue),
       (SELECT to_jsonb(untrue) FROM untrue ORDER BY account LIMIT 1)

-- name: check_floors()^
-- No customer's account is, or was after any debit, below its floor. The limit is the one that the
-- account was opened with: nothing changes it.
WITH bad AS (
  SELECT id AS account, version, balance, held, overdraft_limit
  FROM ledger.accounts
  WHERE kind = 'CUSTOMER' AND balance::numeric - held < -overdraft_limit
  UNION
  SELECT account.id, moved.debit_version, moved.debit_balance_after, moved.debit_held_after,
         account.overdraft_limit
  FROM ledger.transfers AS moved
  JOIN ledger.accounts AS account ON account.id = moved.debit_account
  WHERE account.kind = 'CUSTOMER'
    AND moved.debit_balance_after::numeric - moved.debit_held_after < -account.overdraft_limit
)
SELECT (SELECT count(*) FROM ledger.accounts) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY account, version LIMIT 1) AS first_violation

-- name: check_holds()^
-- No kind of transfer holds funds, so nothing is held.
WITH bad AS (
  SELECT id AS account, held, NULL::bigint AS transfer FROM ledger.accounts WHERE held <> 0
  UNION ALL
  SELECT debit_account, debit_held_after, id FROM ledger.transfers WHERE debit_held_after <> 0
)
SELECT (SELECT count(*) FROM ledger.accounts) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY account LIMIT 1) AS first_violation

-- name: check_sides()^
-- Both accounts of a transfer exist, in its currency, and are of the kinds that its kind moves money
-- between.
WITH bad AS (
  SELECT moved.id AS transfer, moved.kind, moved.currency,
         moved.debit_account, payer.kind AS debit_kind, payer.currency AS debit_currency,
         moved.credit_account, payee.kind AS credit_kind, payee.currency AS credit_currency
  FROM ledger.transfers AS moved
  LEFT JOIN ledger.accounts AS payer ON payer.id = moved.debit_account
  LEFT JOIN ledger.accounts AS payee ON payee.id = moved.credit_account
  WHERE payer.id IS NULL
     OR payee.id IS NULL
     OR payer.currency <> moved.currency
     OR payee.currency <> moved.currency
     OR (moved.kind, payer.kind, payee.kind) NOT IN (
          ('TRANSFER', 'CUSTOMER', 'CUSTOMER'),
          ('DEPOSIT', 'EXTERNAL', 'CUSTOMER'),
          ('WITHDRAWAL', 'CUSTOMER', 'EXTERNAL'))
)
SELECT (SELECT count(*) FROM ledger.transfers) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY transfer LIMIT 1) AS first_violation

-- name: check_keys()^
-- Every transfer, decline and account has exactly one key, of the client that asked, and every key
-- has its outcome. A change of an account's status has a key too.
WITH counted AS (
  SELECT id, outcome, client, sum(stored) AS outcomes, sum(used) AS keys
  FROM (
    SELECT id, 'TRANSFER'::ledger.outcome_kind AS outcome, client, 1 AS stored, 0 AS used
    FROM ledger.transfers
    UNION ALL
    SELECT id, 'DECLINE', client, 1, 0 FROM ledger.declines
    UNION ALL
    SELECT id, 'ACCOUNT', opened_by, 1, 0 FROM ledger.accounts
    UNION ALL
    SELECT outcome_id, outcome, client, 0, 1
    FROM ledger.idempotency_keys
    WHERE outcome <> 'ACCOUNT_STATUS'
  ) AS both_sides
  GROUP BY id, outcome, client
), bad AS (
  SELECT id, outcome, client, outcomes, keys
  FROM counted
  WHERE outcomes <> 1 OR keys <> 1
  UNION ALL
  SELECT used.outcome_id, used.outcome, used.client, 0, 1
  FROM ledger.idempotency_keys AS used
  LEFT JOIN ledger.accounts AS account ON account.id = used.outcome_id
  WHERE used.outcome = 'ACCOUNT_STATUS' AND account.id IS NULL
)
SELECT (SELECT count(*) FROM ledger.idempotency_keys) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY id LIMIT 1) AS first_violation

-- name: check_journal()^
-- Every transfer and decline stands in exactly one journal row, every account in one for its opening
-- and in no more than one for each later change, and no row names what does not exist.
WITH counted AS (
  SELECT id, outcome, sum(stored) AS outcomes, sum(listed) AS rows, max(most) AS most
  FROM (
    SELECT id, 'TRANSFER'::ledger.outcome_kind AS outcome, 1 AS stored, 0 AS listed,
           1::bigint AS most
    FROM ledger.transfers
    UNION ALL
    SELECT id, 'DECLINE', 1, 0, 1 FROM ledger.declines
    UNION ALL
    SELECT id, 'ACCOUNT', 1, 0, 1 + revision FROM ledger.accounts
    UNION ALL
    SELECT unnest(transfers), 'TRANSFER', 0, 1, 0 FROM ledger.journal
    UNION ALL
    SELECT unnest(declines), 'DECLINE', 0, 1, 0 FROM ledger.journal
    UNION ALL
    SELECT unnest(accounts), 'ACCOUNT', 0, 1, 0 FROM ledger.journal
  ) AS both_sides
  GROUP BY id, outcome
), bad AS (
  SELECT id, outcome, outcomes, rows AS journal_rows
  FROM counted
  WHERE outcomes <> 1 OR rows NOT BETWEEN 1 AND most
)
SELECT (SELECT count(*) FROM ledger.journal) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY id LIMIT 1) AS first_violation

-- name: check_positions()^
-- The position that a key gives to its caller is that of the journal row that lists its outcome.
WITH listed AS (
  SELECT xid, id, unnest(transfers) AS item, 'TRANSFER' AS kind FROM ledger.journal
  UNION ALL
  SELECT xid, id, unnest(declines), 'DECLINE' FROM ledger.journal
  UNION ALL
  SELECT xid, id, unnest(accounts), 'ACCOUNT' FROM ledger.journal
), bad AS (
  SELECT used.client, used.key, used.outcome, used.outcome_id AS id, used.journal_xid,
         used.journal_id
  FROM ledger.idempotency_keys AS used
  LEFT JOIN listed
    ON listed.item = used.outcome_id
    AND listed.xid = used.journal_xid
    AND listed.id = used.journal_id
    AND listed.kind = CASE used.outcome
          WHEN 'TRANSFER' THEN 'TRANSFER' WHEN 'DECLINE' THEN 'DECLINE' ELSE 'ACCOUNT' END
  WHERE listed.item IS NULL
)
SELECT (SELECT count(*) FROM ledger.idempotency_keys) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY id LIMIT 1) AS first_violation

-- name: check_details()^
-- Personal data belongs to a transfer or a decline that carries its hash. It may be gone: erasable.
WITH owners AS (
  SELECT id, details_hash FROM ledger.transfers
  UNION ALL
  SELECT id, details_hash FROM ledger.declines
), bad AS (
  SELECT details.id, owner.id IS NULL AS orphaned
  FROM ledger.transfer_details AS details
  LEFT JOIN owners AS owner ON owner.id = details.id
  WHERE owner.id IS NULL OR owner.details_hash IS NULL
)
SELECT (SELECT count(*) FROM ledger.transfer_details) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY id LIMIT 1) AS first_violation

-- name: check_authorizations()^
-- An authorized transfer has its authorization, by the owner of the account that paid and for the
-- key that it was posted under; and no authorization stands alone.
WITH authorized AS (
  SELECT id, authorization_id, client, debit_account
  FROM ledger.transfers
  WHERE step_up = 'AUTHORIZED' OR authorization_id IS NOT NULL
), bad AS (
  SELECT moved.id AS transfer, moved.authorization_id, approval.id AS stored_authorization,
         approval.transfer_id AS authorizes, payer.owner IS DISTINCT FROM approval.user_id AS stranger
  FROM authorized AS moved
  FULL JOIN ledger.authorizations AS approval ON approval.id = moved.authorization_id
  LEFT JOIN ledger.accounts AS payer ON payer.id = moved.debit_account
  LEFT JOIN ledger.idempotency_keys AS used
    ON used.client = approval.client AND used.key = approval.idempotency_key
    AND used.outcome = 'TRANSFER' AND used.outcome_id = approval.transfer_id
  WHERE moved.id IS NULL
     OR approval.id IS NULL
     OR approval.transfer_id <> moved.id
     OR approval.client <> moved.client
     OR payer.owner IS DISTINCT FROM approval.user_id
     OR used.key IS NULL
)
SELECT (SELECT count(*) FROM ledger.authorizations) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY transfer LIMIT 1) AS first_violation

-- name: read_authorizations(after, most)
-- What was signed and the transfer that it let through, a page at a time.
SELECT approval.id, approval.user_id, approval.method, approval.digest, approval.issued_at_us,
       approval.expires_at_us, approval.key_id, approval.signature, approval.signed_at_us,
       approval.client, approval.idempotency_key,
       moved.id AS transfer, moved.kind, moved.debit_account, moved.credit_account, moved.amount,
       moved.currency
FROM ledger.authorizations AS approval
JOIN ledger.transfers AS moved ON moved.id = approval.transfer_id
WHERE approval.id > :after::bigint
ORDER BY approval.id
LIMIT :most::int
