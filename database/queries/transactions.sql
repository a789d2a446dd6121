-- The frame of a writing transaction, and what became of one whose reply was cut off.

-- name: begin()#
BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_current_xact_id()

-- name: commit()#
COMMIT

-- name: roll_back()#
ROLLBACK

-- name: transaction_status(xid)$
-- NULL when it is too old to tell; raises 22023 when the id was never assigned.
SELECT pg_xact_status(:xid::xid8)

-- name: journal_has(xid, journal_id)$
SELECT EXISTS (
  SELECT FROM ledger.journal WHERE xid = :xid::xid8 AND id = :journal_id::bigint
)

-- name: epoch()$
SELECT epoch FROM ledger.epoch
