-- What the transfers make of the accounts. Both sides of every transfer are read from the table
-- itself, not from a view that somebody could define anew. Sums are numeric, so that no wrong figure
-- can overflow the check itself.

-- name: check_sums()
-- Money is neither made nor lost: the balances of each currency add up to zero.
WITH sums AS (
  SELECT currency, count(*) AS accounts, sum(balance) AS total
  FROM ledger.accounts
  GROUP BY currency
), bad AS (
  SELECT currency, accounts, total FROM sums WHERE total <> 0
)
SELECT 'sums' AS finding,
       (SELECT count(*) FROM sums) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY currency LIMIT 1) AS first_violation

-- name: check_held()
-- What an account has set aside is what its open holds have left.
WITH open AS (
  SELECT account, sum(remaining) AS remaining, min(id) AS hold
  FROM ledger.open_holds
  GROUP BY account
), bad AS (
  SELECT coalesce(account.id, open.account) AS account, account.held,
         coalesce(open.remaining, 0) AS open_holds, open.hold
  FROM (SELECT id, held FROM ledger.accounts) AS account
  FULL JOIN open ON open.account = account.id
  WHERE account.held IS DISTINCT FROM coalesce(open.remaining, 0)
)
SELECT 'held' AS finding,
       (SELECT count(*) FROM ledger.accounts) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY account LIMIT 1) AS first_violation

-- name: check_limits()
-- The limit that an account has is the one that the last audited change left it with.
WITH changes AS (
  SELECT substr(subject, 9)::bigint AS account,
         (after ->> 'overdraft_limit')::numeric AS overdraft_limit,
         (before ->> 'overdraft_limit')::numeric AS limit_before,
         lag((after ->> 'overdraft_limit')::numeric) OVER history AS limit_earlier,
         row_number() OVER history AS number,
         count(*) OVER (PARTITION BY subject) AS changes
  FROM ledger.audit
  WHERE subject ~ '^account/[0-9]{1,19}$' AND after ? 'overdraft_limit'
  WINDOW history AS (PARTITION BY subject ORDER BY (after ->> 'revision')::bigint, id)
), bad AS (
  SELECT change.account, change.number, change.limit_before, change.limit_earlier,
         change.overdraft_limit AS limit_after, account.overdraft_limit AS stored_limit
  FROM changes AS change
  LEFT JOIN ledger.accounts AS account ON account.id = change.account
  WHERE account.id IS NULL
     OR (number > 1 AND limit_before <> limit_earlier)
     OR (number = changes AND account.overdraft_limit <> change.overdraft_limit)
)
SELECT 'limits' AS finding,
       (SELECT count(*) FROM changes) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY account, number LIMIT 1) AS first_violation

-- name: check_chains(slice, slices)
-- Account by account in order of version, over both sides and all partitions: one pass. A floor is
-- judged by the limit that was in force: that of the last audited change before the entry, else the
-- one before the first change, else the account's.
WITH legs AS (
  SELECT debit_account AS account, debit_version AS version, id AS transfer,
         CASE WHEN credit_version IS NULL THEN 0 ELSE -amount END AS change,
         debit_balance_after AS balance_after,
         CASE kind WHEN 'HOLD' THEN amount
                   WHEN 'RELEASE' THEN -amount
                   WHEN 'CAPTURE' THEN -amount - coalesce(released, 0)
                   ELSE 0 END AS held_change,
         debit_held_after AS held_after, created_at_us
  FROM ledger.transfers
  WHERE (:slices::int = 1 OR abs(hashint8(debit_account)::bigint) % :slices::int = :slice::int)
  UNION ALL
  SELECT credit_account, credit_version, id, amount, credit_balance_after, 0, NULL, created_at_us
  FROM ledger.transfers
  WHERE credit_version IS NOT NULL
    AND (:slices::int = 1 OR abs(hashint8(credit_account)::bigint) % :slices::int = :slice::int)
), steps AS (
  SELECT account, version, transfer, change, balance_after, held_change, held_after,
         created_at_us,
         sum(held_change) OVER chain AS held,
         lag(version, 1, 0::bigint) OVER chain AS version_before,
         lag(balance_after, 1, 0::bigint) OVER chain AS balance_before,
         lag(created_at_us) OVER chain AS time_before_us
  FROM legs
  WINDOW chain AS (PARTITION BY account ORDER BY version, transfer ROWS UNBOUNDED PRECEDING)
), changes AS (
  SELECT substr(subject, 9)::bigint AS account,
         coalesce((after ->> 'version')::bigint, (
           SELECT count(*) FROM legs
           WHERE legs.account = substr(subject, 9)::bigint
             AND legs.created_at_us <= audit.created_at_us)) AS version,
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
), judged AS (
  SELECT step.account, step.version, transfer, change, balance_after, held_change, held_after,
         created_at_us, held, version_before, balance_before, time_before_us,
         step.version <> version_before + 1 AS gap,
         balance_after <> balance_before::numeric + change AS off,
         held_after <> held OR held < 0 AS mishold,
         created_at_us <= time_before_us AS early,
         CASE WHEN owned.kind = 'CUSTOMER'
              THEN balance_after - held < -coalesce(limits.overdraft_limit, owned.overdraft_limit)
              ELSE false END AS low
  FROM steps AS step
  LEFT JOIN (SELECT id, kind, overdraft_limit FROM ledger.accounts) AS owned
    ON owned.id = step.account
  LEFT JOIN limits
    ON limits.account = step.account AND step.version > limits.after_version
    AND (limits.to_version IS NULL OR step.version <= limits.to_version)
), chains AS (
  SELECT account,
         count(*) AS entries,
         max(version) AS version,
         sum(change) AS balance,
         sum(held_change) AS held,
         max(created_at_us) AS last_entry_us,
         count(*) FILTER (WHERE gap) AS gaps,
         min(ARRAY[version, version_before, transfer]) FILTER (WHERE gap) AS gap,
         count(*) FILTER (WHERE off) AS offs,
         min(ARRAY[version, transfer, balance_before, change, balance_after])
           FILTER (WHERE off) AS off,
         count(*) FILTER (WHERE mishold) AS misholds,
         min(ARRAY[version, transfer, held, held_after]) FILTER (WHERE mishold) AS mishold,
         count(*) FILTER (WHERE early) AS earlies,
         min(ARRAY[version, transfer, created_at_us, time_before_us])
           FILTER (WHERE early) AS early,
         count(*) FILTER (WHERE low) AS lows,
         min(ARRAY[version, transfer, balance_after, held]) FILTER (WHERE low) AS low
  FROM judged
  GROUP BY account
), compared AS MATERIALIZED (
  SELECT coalesce(stored.id, chain.account) AS account,
         stored.id IS NULL AS missing,
         stored.balance AS stored_balance, coalesce(chain.balance, 0) AS balance,
         stored.held AS stored_held, coalesce(chain.held, 0) AS held,
         stored.version AS stored_version, coalesce(chain.version, 0) AS version,
         stored.last_entry_us AS stored_last_entry_us,
         coalesce(chain.last_entry_us, 0) AS last_entry_us,
         stored.kind = 'CUSTOMER'
           AND stored.balance::numeric - stored.held < -stored.overdraft_limit AS stored_low,
         coalesce(chain.entries, 0) AS entries,
         gaps, gap, offs, off, misholds, mishold, earlies, early, lows, low
  FROM (
    SELECT id, kind, balance, held, overdraft_limit, version, last_entry_us
    FROM ledger.accounts
    WHERE (:slices::int = 1 OR abs(hashint8(id)::bigint) % :slices::int = :slice::int)
  ) AS stored
  FULL JOIN chains AS chain ON chain.account = stored.id
), untrue AS (
  SELECT account, missing, stored_balance, balance, stored_held, held, stored_version, version,
         stored_last_entry_us, last_entry_us
  FROM compared
  WHERE missing
     OR stored_balance <> balance
     OR stored_held <> held
     OR stored_version <> version
     OR stored_last_entry_us <> last_entry_us
)
SELECT 'versions' AS finding,
       (SELECT coalesce(sum(entries), 0)::bigint FROM compared) AS examined,
       (SELECT coalesce(sum(gaps), 0)::bigint FROM compared) AS violations,
       (SELECT jsonb_build_object('account', account, 'version', gap[1], 'follows', gap[2],
                                  'transfer', gap[3])
        FROM compared WHERE gaps > 0 ORDER BY account LIMIT 1) AS first_violation
UNION ALL
SELECT 'balances',
       (SELECT coalesce(sum(entries), 0)::bigint FROM compared),
       (SELECT coalesce(sum(offs), 0)::bigint FROM compared),
       (SELECT jsonb_build_object('account', account, 'version', off[1], 'transfer', off[2],
                                  'balance_before', off[3], 'change', off[4],
                                  'balance_after', off[5])
        FROM compared WHERE offs > 0 ORDER BY account LIMIT 1)
UNION ALL
SELECT 'held_after',
       (SELECT coalesce(sum(entries), 0)::bigint FROM compared),
       (SELECT coalesce(sum(misholds), 0)::bigint FROM compared),
       (SELECT jsonb_build_object('account', account, 'version', mishold[1],
                                  'transfer', mishold[2], 'held', mishold[3],
                                  'held_after', mishold[4])
        FROM compared WHERE misholds > 0 ORDER BY account LIMIT 1)
UNION ALL
SELECT 'times',
       (SELECT coalesce(sum(entries), 0)::bigint FROM compared),
       (SELECT coalesce(sum(earlies), 0)::bigint FROM compared),
       (SELECT jsonb_build_object('account', account, 'version', early[1], 'transfer', early[2],
                                  'created_at_us', early[3], 'entry_before_us', early[4])
        FROM compared WHERE earlies > 0 ORDER BY account LIMIT 1)
UNION ALL
SELECT 'floors',
       (SELECT coalesce(sum(entries), 0)::bigint FROM compared),
       (SELECT coalesce(sum(lows), 0)::bigint + count(*) FILTER (WHERE stored_low) FROM compared),
       (SELECT CASE WHEN lows > 0
                    THEN jsonb_build_object('account', account, 'version', low[1],
                                            'transfer', low[2], 'balance', low[3], 'held', low[4])
                    ELSE jsonb_build_object('account', account, 'version', stored_version,
                                            'balance', stored_balance, 'held', stored_held) END
        FROM compared WHERE lows > 0 OR stored_low ORDER BY account LIMIT 1)
UNION ALL
SELECT 'accounts',
       (SELECT count(*) FROM compared),
       (SELECT count(*) FROM untrue),
       (SELECT to_jsonb(untrue) FROM untrue ORDER BY account LIMIT 1)
