-- Sealing what was stored before personal data was sealed, as role paycore_owner.

-- name: find_plain(after_id, most)
-- With the kind of the transfer or decline and the owners of its accounts; kind is NULL where there
-- is neither.
SELECT plain.id, plain.user_id, plain.device_id, plain.ip_address, plain.description,
       plain.metadata::text, coalesce(moved.kind, refused.kind)::text AS kind,
       debit.owner AS debit_owner, debit.kind::text AS debit_kind,
       credit.owner AS credit_owner, credit.kind::text AS credit_kind
FROM (
  SELECT * FROM ledger.transfer_details
  WHERE sealed IS NULL AND id > :after_id::bigint
  ORDER BY id
  LIMIT :most::int
) AS plain
LEFT JOIN ledger.transfers AS moved ON moved.id = plain.id
LEFT JOIN ledger.declines AS refused ON refused.id = plain.id
LEFT JOIN ledger.accounts AS debit
  ON debit.id = coalesce(moved.debit_account, refused.debit_account)
LEFT JOIN ledger.accounts AS credit
  ON credit.id = coalesce(moved.credit_account, refused.credit_account)
ORDER BY plain.id

-- name: seal_plain(ids, owner_keys, actor_keys, sealed)$
-- How many were still plain.
WITH done AS (
  UPDATE ledger.transfer_details AS details
  SET owner_key = new.owner_key, actor_key = new.actor_key, sealed = new.sealed,
      user_id = NULL, device_id = NULL, ip_address = NULL, description = NULL, metadata = NULL
  FROM unnest(
    :ids::bigint[], :owner_keys::bigint[], :actor_keys::bigint[], :sealed::bytea[]
  ) AS new (id, owner_key, actor_key, sealed)
  WHERE details.id = new.id AND details.sealed IS NULL
  RETURNING 1
)
SELECT count(*) FROM done

-- name: find_plain_audit(after_id, most)
-- Of a release before. What sessions of the database changed tells where these came from, and stays.
SELECT id, created_at_us, client, user_id, device_id, ip_address
FROM ledger.audit
WHERE id > :after_id::bigint AND client IS DISTINCT FROM database_user
  AND (device_id IS NOT NULL OR ip_address IS NOT NULL)
ORDER BY id
LIMIT :most::int

-- name: open_audit#
ALTER TABLE ledger.audit DISABLE TRIGGER append_only

-- name: close_audit#
ALTER TABLE ledger.audit ENABLE ALWAYS TRIGGER append_only

-- name: seal_audit(ids, device_hints, address_hints, actor_keys, sealed)!
UPDATE ledger.audit
SET device_id = NULL, ip_address = NULL, device_hint = new.device_hint,
    address_hint = new.address_hint, actor_key = new.actor_key,
    traced_us = CASE WHEN new.sealed IS NOT NULL THEN created_at_us END, sealed = new.sealed
FROM unnest(
  :ids::bigint[], :device_hints::text[], :address_hints::text[], :actor_keys::bigint[],
  :sealed::bytea[]
) AS new (id, device_hint, address_hint, actor_key, sealed)
WHERE audit.id = new.id AND audit.sealed IS NULL
