-- Which accounts have names of the world outside.

-- name: find_identifiers(schemes, values)
SELECT linked.scheme, linked.value, linked.account
FROM unnest(:schemes::text[], :values::text[]) AS wanted (scheme, value)
JOIN ledger.external_identifiers AS linked USING (scheme, value)
