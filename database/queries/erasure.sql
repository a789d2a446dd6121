-- Erasing subjects, as role paycore_command.

-- name: erase_keys(subject, keys, at_us)$
-- How many of the keys had no tombstone yet.
SELECT ledger.erase_keys(:subject::text, :keys::bigint[], :at_us::bigint)

-- name: erase_account_details(subject, most)$
-- How many accounts it was; fewer than `most` when there are no more.
SELECT ledger.erase_account_details(:subject::text, :most::int)

-- name: write_journal(id, created_at_us, keys)$
INSERT INTO ledger.journal (id, created_at_us, erased_keys)
VALUES (:id::bigint, :created_at_us::bigint, :keys::bigint[])
RETURNING xid
