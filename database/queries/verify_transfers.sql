-- What each transfer must be by itself and beside the one that it follows. A slice is a range of ids;
-- rows may be examined that somebody else verified before, which does no harm.

-- name: check_sides(low, high)
-- Both accounts of a transfer exist, in its currency, and are of the kinds that its kind moves money
-- between; it has the legs and the fields of its kind. The table refuses most of it too, as long as
-- its constraints stand.
WITH endpoints (kind, debit_kind, credit_kind) AS (
  VALUES ('TRANSFER', 'CUSTOMER', 'CUSTOMER'),
         ('DEPOSIT', 'EXTERNAL', 'CUSTOMER'),
         ('WITHDRAWAL', 'CUSTOMER', 'EXTERNAL'),
         ('FEE', 'CUSTOMER', 'CUSTOMER'),
         ('NET_SETTLEMENT', 'CUSTOMER', 'CUSTOMER'),
         ('HOLD', 'CUSTOMER', NULL)
), bad AS MATERIALIZED (
  SELECT moved.id AS transfer, moved.kind, moved.currency, moved.amount,
         moved.debit_account, payer.kind AS debit_kind, payer.currency AS debit_currency,
         moved.credit_account, payee.kind AS credit_kind, payee.currency AS credit_currency,
         moved.parent_id
  FROM ledger.transfers AS moved
  LEFT JOIN ledger.accounts AS payer ON payer.id = moved.debit_account
  LEFT JOIN ledger.accounts AS payee ON payee.id = moved.credit_account
  LEFT JOIN endpoints ON endpoints.kind = moved.kind::text
  WHERE moved.id >= :low::bigint AND moved.id < :high::bigint
    AND (payer.id IS NULL
      OR payee.id IS NULL
      OR payer.id = payee.id
      OR payer.currency <> moved.currency
      OR payee.currency <> moved.currency
      OR moved.amount <= 0
      OR payer.kind::text <> endpoints.debit_kind
      OR payee.kind::text <> endpoints.credit_kind
      -- The sides of those that follow another are their parent's.
      OR (endpoints.kind IS NULL) <> (moved.parent_id IS NOT NULL)
      OR (moved.kind IN ('HOLD', 'RELEASE')) <> (moved.credit_version IS NULL)
      OR (moved.credit_version IS NULL) <> (moved.credit_balance_after IS NULL)
      OR (moved.expires_at_us IS NOT NULL OR moved.review IS NOT NULL) AND moved.kind <> 'HOLD'
      OR moved.released IS NOT NULL AND (moved.kind <> 'CAPTURE' OR moved.released <= 0)
      OR (moved.step_up = 'AUTHORIZED') <> (moved.authorization_id IS NOT NULL))
)
SELECT 'sides' AS finding,
       (SELECT count(*) FROM ledger.transfers WHERE id >= :low::bigint AND id < :high::bigint)
         AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY transfer LIMIT 1) AS first_violation

-- name: check_families(low, high, first, last, parents, legal_parents, legal_children)
-- Parents and what follows them. They are the holds and parents with an id from `low` to below
-- `high`, and those named; `first` and `last` enclose them all.
WITH heads AS MATERIALIZED (
  SELECT id FROM ledger.transfers
  WHERE kind = 'HOLD' AND id >= :low::bigint AND id < :high::bigint
  UNION
  SELECT parent_id FROM ledger.transfers
  WHERE parent_id >= :low::bigint AND parent_id < :high::bigint
  UNION
  SELECT unnest(:parents::bigint[])
), steps AS (
  SELECT child.id, child.parent_id, child.kind, child.currency, child.debit_account,
         child.credit_account, child.amount, child.released, child.created_at_us,
         child.parent_sequence, child.parent_remaining, child.parent_state,
         lag(child.parent_sequence, 1, 0::bigint) OVER family AS sequence_before,
         lag(child.parent_remaining) OVER family AS remaining_before,
         lag(child.parent_state) OVER family AS state_before,
         lead(child.id) OVER family IS NULL AS latest
  FROM heads
  JOIN ledger.transfers AS child ON child.parent_id = heads.id
  WHERE child.parent_id BETWEEN :first::bigint AND :last::bigint
  WINDOW family AS (PARTITION BY child.parent_id ORDER BY child.parent_sequence)
), parents AS (
  SELECT moved.id, moved.kind, moved.currency, moved.debit_account, moved.credit_account,
         moved.amount, moved.created_at_us, moved.expires_at_us, moved.review
  FROM heads
  JOIN ledger.transfers AS moved ON moved.id = heads.id
  WHERE moved.id BETWEEN :first::bigint AND :last::bigint
), legal AS (
  SELECT * FROM unnest(:legal_parents::text[], :legal_children::text[]) AS legal (parent, child)
), judged AS MATERIALIZED (
  SELECT step.id, step.parent_id, step.parent_sequence, step.parent_remaining, step.parent_state,
         step.latest, CASE
    WHEN parent.id IS NULL THEN 'its parent does not exist'
    WHEN legal.child IS NULL THEN 'its kind cannot follow its parent''s'
    WHEN step.created_at_us <= parent.created_at_us THEN 'it is older than its parent'
    WHEN parent.currency <> step.currency THEN 'its currency is not its parent''s'
    WHEN (parent.debit_account, parent.credit_account) IS DISTINCT FROM (
      CASE WHEN step.kind IN ('CAPTURE', 'RELEASE')
           THEN (step.debit_account, step.credit_account)
           ELSE (step.credit_account, step.debit_account) END)
      THEN 'its accounts are not its parent''s'
    WHEN step.parent_sequence IS DISTINCT FROM step.sequence_before + 1
      THEN 'its sequence is not the next'
    WHEN step.state_before IN
      ('CAPTURED', 'RELEASED', 'EXPIRED', 'REFUNDED', 'REVERSED', 'ROLLED_BACK')
      THEN 'it follows a final state'
    WHEN step.parent_remaining IS DISTINCT FROM
      coalesce(step.remaining_before, parent.amount)::numeric - step.amount
      - coalesce(step.released, 0)
      OR step.parent_remaining < 0 THEN 'what it leaves does not follow'
    WHEN step.released IS NOT NULL AND step.parent_remaining <> 0
      THEN 'it releases without ending the hold'
    WHEN step.kind = 'CAPTURE' AND step.created_at_us >= parent.expires_at_us
      THEN 'it captures after the deadline'
    WHEN step.kind IN ('RELEASE', 'REVERSAL') AND step.parent_remaining <> 0
      THEN 'it leaves a part'
    WHEN step.kind = 'REVERSAL' AND step.parent_sequence <> 1 THEN 'it reverses what was refunded'
    WHEN step.parent_state IS NULL OR NOT step.parent_state::text = ANY (CASE step.kind
      WHEN 'CAPTURE' THEN ARRAY[CASE WHEN step.parent_remaining = 0 THEN 'CAPTURED'
                                     ELSE 'PARTIALLY_CAPTURED' END]
      -- About the deadline the row's time may be past it and the database's clock not yet.
      WHEN 'RELEASE' THEN ARRAY['RELEASED']
        || CASE WHEN step.created_at_us >= parent.expires_at_us THEN ARRAY['EXPIRED'] END
        || CASE WHEN parent.review IS NOT NULL THEN ARRAY['ROLLED_BACK'] END
      WHEN 'REFUND' THEN ARRAY[CASE WHEN step.parent_remaining = 0 THEN 'REFUNDED'
                                    ELSE 'PARTIALLY_REFUNDED' END]
      ELSE ARRAY['REVERSED'] END)
      THEN 'the state does not fit'
    END AS fault
  FROM steps AS step
  LEFT JOIN parents AS parent ON parent.id = step.parent_id
  LEFT JOIN legal ON legal.parent = parent.kind::text AND legal.child = step.kind::text
), wrong AS (
  SELECT id AS transfer, parent_id AS parent, parent_sequence AS sequence,
         parent_remaining AS remaining, parent_state AS state, fault
  FROM judged
  WHERE fault IS NOT NULL
), holds AS MATERIALIZED (
  SELECT hold.id, hold.debit_account AS account, hold.expires_at_us,
         coalesce(latest.parent_remaining, hold.amount) AS remaining,
         coalesce(latest.parent_sequence, 0) AS sequence
  FROM parents AS hold
  LEFT JOIN judged AS latest ON latest.parent_id = hold.id AND latest.latest
  WHERE hold.kind = 'HOLD'
), misheld AS (
  SELECT coalesce(hold.id, open.id) AS hold, hold.remaining, open.remaining AS open_remaining,
         hold.sequence, open.sequence AS open_sequence, open.account AS open_account
  FROM (SELECT * FROM holds WHERE remaining <> 0) AS hold
  FULL JOIN (
    SELECT * FROM ledger.open_holds
    WHERE (id >= :low::bigint AND id < :high::bigint) OR id = ANY (:parents::bigint[])
  ) AS open ON open.id = hold.id
  WHERE (hold.account, hold.remaining, hold.sequence, hold.expires_at_us)
        IS DISTINCT FROM (open.account, open.remaining, open.sequence, open.expires_at_us)
)
SELECT 'children' AS finding,
       (SELECT count(*) FROM judged) AS examined,
       (SELECT count(*) FROM wrong) AS violations,
       (SELECT to_jsonb(wrong) FROM wrong ORDER BY parent, sequence, transfer LIMIT 1)
         AS first_violation
UNION ALL
SELECT 'open_holds',
       (SELECT count(*) FROM holds),
       (SELECT count(*) FROM misheld),
       (SELECT to_jsonb(misheld) FROM misheld ORDER BY hold LIMIT 1)

-- name: check_groups(low, high)
-- A group lists the transfers that name it, in order, and they are of its client.
WITH listed AS (
  SELECT team.id AS group_id, team.client, item.transfer, item.place
  FROM ledger.transfer_groups AS team
  CROSS JOIN LATERAL unnest(team.transfers) WITH ORDINALITY AS item (transfer, place)
  WHERE team.id >= :low::bigint AND team.id < :high::bigint
), missing AS (
  SELECT listed.group_id, listed.transfer, listed.place, moved.group_id AS named
  FROM listed
  LEFT JOIN ledger.transfers AS moved ON moved.id = listed.transfer
  WHERE moved.group_id IS DISTINCT FROM listed.group_id
     OR moved.client IS DISTINCT FROM listed.client
  UNION ALL
  SELECT group_id, transfer, max(place), group_id
  FROM listed
  GROUP BY group_id, transfer
  HAVING count(*) > 1
  UNION ALL
  SELECT moved.group_id, moved.id, NULL, moved.group_id
  FROM ledger.transfers AS moved
  LEFT JOIN ledger.transfer_groups AS team ON team.id = moved.group_id
  WHERE moved.id >= :low::bigint AND moved.id < :high::bigint AND moved.group_id IS NOT NULL
    AND (team.id IS NULL OR NOT moved.id = ANY (team.transfers))
)
SELECT 'groups' AS finding,
       (SELECT count(*) FROM ledger.transfer_groups
        WHERE id >= :low::bigint AND id < :high::bigint) AS examined,
       (SELECT count(*) FROM missing) AS violations,
       (SELECT to_jsonb(missing) FROM missing ORDER BY group_id, transfer LIMIT 1)
         AS first_violation

-- name: check_details(low, high)
-- Personal data stands where its hash does, once, whether it can still be opened or not: what is
-- erased is sealed under a key that has a tombstone, and stays.
WITH hashed AS (
  SELECT id FROM ledger.transfers
  WHERE id >= :low::bigint AND id < :high::bigint AND details_hash IS NOT NULL
  UNION ALL
  SELECT id FROM ledger.declines
  WHERE id >= :low::bigint AND id < :high::bigint AND details_hash IS NOT NULL
), stored AS (
  SELECT id, owner_key, actor_key, sealed FROM ledger.transfer_details
  WHERE id >= :low::bigint AND id < :high::bigint
), bad AS (
  SELECT coalesce(hashed.id, stored.id) AS id,
         CASE WHEN hashed.id IS NULL THEN 'it belongs to nothing that has its hash'
              WHEN stored.id IS NULL THEN 'it is gone, which no erasure does'
              ELSE 'it does not name its keys' END AS fault
  FROM hashed
  FULL JOIN stored ON stored.id = hashed.id
  WHERE hashed.id IS NULL OR stored.id IS NULL
     OR (stored.sealed IS NULL) <> (stored.owner_key IS NULL)
     OR stored.sealed IS NULL AND stored.actor_key IS NOT NULL
)
SELECT 'details' AS finding,
       (SELECT count(*) FROM stored) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY id LIMIT 1) AS first_violation

-- name: check_erasures()
-- Each tombstone hides what is sealed under its key: every one was asked for, and audited.
WITH told AS (
  SELECT (SELECT count(*) FROM ledger.erased_keys) AS tombstones,
         (SELECT coalesce(sum((after ->> 'keys')::bigint), 0) FROM ledger.audit
          WHERE action = 'ERASE_SUBJECT') AS audited
), bad AS (
  SELECT * FROM told WHERE tombstones <> audited
)
SELECT 'erasures' AS finding,
       (SELECT tombstones FROM told) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad) AS first_violation

-- name: check_authorizations(low, high)
-- What payers set in motion says why it was let through; fees and settlements may, as those of earlier
-- releases do not; nothing else does. What was authorized has its authorization, of the transfer itself or of the payer's part of its group, by the owner of the
-- account that paid and for the key that it was posted under; and no authorization stands alone.
-- What was posted as a hold for a review may be of any kind.
WITH guarded AS (
  SELECT id, kind, step_up, authorization_id, client, debit_account, group_id,
         kind IN ('TRANSFER', 'WITHDRAWAL') OR kind = 'HOLD' AND review IS NULL AS needs,
         kind IN ('TRANSFER', 'WITHDRAWAL', 'HOLD', 'FEE', 'NET_SETTLEMENT') AS may
  FROM ledger.transfers
  WHERE id >= :low::bigint AND id < :high::bigint
    AND (kind IN ('TRANSFER', 'WITHDRAWAL', 'HOLD') OR step_up <> 'NOT_APPLICABLE'
         OR authorization_id IS NOT NULL)
), unreasoned AS (
  SELECT id AS transfer, kind, step_up
  FROM guarded
  WHERE needs AND step_up = 'NOT_APPLICABLE' OR NOT may
), approvals AS (
  SELECT id, transfer_id, group_id, payer, client, user_id, idempotency_key,
         coalesce(transfer_id, group_id) AS outcome_id
  FROM ledger.authorizations
  WHERE coalesce(transfer_id, group_id) >= :low::bigint
    AND coalesce(transfer_id, group_id) < :high::bigint
), bad AS (
  SELECT moved.id AS transfer, moved.authorization_id, approval.id AS stored_authorization,
         payer.owner IS DISTINCT FROM approval.user_id AS stranger
  FROM guarded AS moved
  LEFT JOIN ledger.authorizations AS approval
    ON approval.id = moved.authorization_id
    AND (approval.transfer_id = moved.id
         OR approval.group_id = moved.group_id AND approval.payer = moved.debit_account)
  LEFT JOIN ledger.accounts AS payer ON payer.id = moved.debit_account
  WHERE (moved.step_up = 'AUTHORIZED' OR moved.authorization_id IS NOT NULL)
    AND (moved.step_up <> 'AUTHORIZED'
         OR approval.id IS NULL
         OR approval.client <> moved.client
         OR payer.owner IS DISTINCT FROM approval.user_id)
  UNION ALL
  SELECT approval.outcome_id, NULL, approval.id, false
  FROM approvals AS approval
  LEFT JOIN ledger.idempotency_keys AS used
    ON ledger.key_locator(used.client, used.key)
      = ledger.key_locator(approval.client, approval.idempotency_key)
    AND used.client = approval.client AND used.key = approval.idempotency_key
    AND used.outcome_id = approval.outcome_id
    AND used.outcome = CASE WHEN approval.group_id IS NULL
      THEN 'TRANSFER'::ledger.outcome_kind ELSE 'GROUP' END
  LEFT JOIN ledger.transfer_groups AS team ON team.id = approval.group_id
  WHERE used.key IS NULL
     OR NOT EXISTS (
       SELECT
       FROM ledger.transfers AS moved
       WHERE moved.id = ANY (coalesce(team.transfers, ARRAY[approval.transfer_id]))
         AND moved.authorization_id = approval.id)
)
SELECT 'authorizations' AS finding,
       (SELECT count(*) FROM approvals) AS examined,
       (SELECT count(*) FROM bad) AS violations,
       (SELECT to_jsonb(bad) FROM bad ORDER BY transfer LIMIT 1) AS first_violation
UNION ALL
SELECT 'step_up',
       (SELECT count(*) FROM guarded),
       (SELECT count(*) FROM unreasoned),
       (SELECT to_jsonb(unreasoned) FROM unreasoned ORDER BY transfer LIMIT 1)

-- name: read_authorizations(after, low, most)
-- What was signed and the transfer that it let through, a page at a time.
SELECT approval.id, approval.user_id, approval.method, approval.digest, approval.issued_at_us,
       approval.expires_at_us, approval.key_id, approval.signature, approval.signed_at_us,
       approval.client, approval.idempotency_key, approval.group_id, approval.payer,
       moved.id AS transfer, moved.kind, moved.debit_account, moved.credit_account, moved.amount,
       moved.currency
FROM ledger.authorizations AS approval
LEFT JOIN ledger.transfers AS moved ON moved.id = approval.transfer_id
WHERE approval.id > :after::bigint
  AND (moved.id >= :low::bigint OR approval.group_id >= :low::bigint)
ORDER BY approval.id
LIMIT :most::int

-- name: read_group_legs(id)
-- In the order of the group.
SELECT moved.kind, moved.debit_account, moved.credit_account, moved.amount, moved.currency
FROM ledger.transfer_groups AS team
CROSS JOIN LATERAL unnest(team.transfers) WITH ORDINALITY AS item (transfer, place)
JOIN ledger.transfers AS moved ON moved.id = item.transfer
WHERE team.id = :id::bigint
ORDER BY item.place
