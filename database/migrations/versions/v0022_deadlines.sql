-- A hold's deadline is a promise to its payee: it lies ahead when the hold is made, and is up when the
-- process that frees it and the database both say so.

-- Holds that were made before with a deadline behind them stay as they are: it is never validated.
ALTER TABLE ledger.transfers
  ADD CONSTRAINT transfers_deadline CHECK (expires_at_us > created_at_us) NOT VALID;

-- All that must be true of what follows a transfer, so that a value that is missing refuses it.
CREATE OR REPLACE FUNCTION ledger.check_children(ids bigint[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
  IF EXISTS (
    SELECT
    FROM ledger.transfers AS child
    LEFT JOIN ledger.transfers AS parent ON parent.id = child.parent_id
    LEFT JOIN ledger.legal_children AS legal
      ON legal.parent = parent.kind AND legal.child = child.kind
    LEFT JOIN ledger.transfers AS before
      ON before.parent_id = child.parent_id AND before.parent_sequence = child.parent_sequence - 1
    WHERE child.id = ANY (ids)
      AND (legal.child IS NOT NULL
           AND parent.currency = child.currency
           AND (parent.debit_account, parent.credit_account) = (
                CASE WHEN child.kind IN ('CAPTURE', 'RELEASE')
                     THEN (child.debit_account, child.credit_account)
                     ELSE (child.credit_account, child.debit_account) END)
           AND (child.parent_sequence = 1) = (before.id IS NULL)
           AND child.parent_remaining = coalesce(before.parent_remaining, parent.amount)
                                        - child.amount - coalesce(child.released, 0)
           AND (before.id IS NULL OR before.parent_state NOT IN
                  ('CAPTURED', 'RELEASED', 'EXPIRED', 'REVERSED', 'ROLLED_BACK'))
           AND CASE child.kind
                 WHEN 'CAPTURE' THEN
                   child.created_at_us < coalesce(parent.expires_at_us, child.created_at_us + 1)
                   AND child.parent_state = CASE child.parent_remaining
                         WHEN 0 THEN 'CAPTURED'::ledger.transfer_state
                         ELSE 'PARTIALLY_CAPTURED' END
                 WHEN 'RELEASE' THEN
                   child.parent_remaining = 0
                   AND (child.parent_state IN ('RELEASED', 'ROLLED_BACK')
                        OR child.parent_state = 'EXPIRED'
                           AND child.created_at_us >= parent.expires_at_us
                           -- The row's time is that of a process, whose clock may run ahead.
                           AND parent.expires_at_us
                               <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
                 WHEN 'REFUND' THEN
                   child.parent_state = CASE child.parent_remaining
                     WHEN 0 THEN 'REFUNDED'::ledger.transfer_state
                     ELSE 'PARTIALLY_REFUNDED' END
                 ELSE
                   child.parent_sequence = 1 AND child.parent_remaining = 0
                   AND child.parent_state = 'REVERSED'
               END
           -- The indexes of partitions do not see each other.
           AND NOT EXISTS (
                 SELECT
                 FROM ledger.transfers AS other
                 WHERE other.parent_id = child.parent_id
                   AND other.parent_sequence >= child.parent_sequence
                   AND other.id <> child.id
                   AND (other.parent_sequence = child.parent_sequence OR other.id <> ALL (ids)))
          ) IS NOT TRUE
  ) THEN
    RAISE EXCEPTION 'a transfer does not follow its parent' USING ERRCODE = 'check_violation';
  END IF;
END
$$;
