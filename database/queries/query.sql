-- What the query service reads of the ledger itself, as role paycore_query.

-- name: read_grants()
-- Who may read which accounts; other actions are not this service's business.
SELECT client, action, scope, institution
FROM ledger.grants
WHERE action = 'READ'
