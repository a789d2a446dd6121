-- Where a client's key stands in the index: up to 11 characters of the key without hyphens, then 12
-- bytes of SHA-256 over client and key. Keys that begin with the time stand together (11 digits of a
-- UUIDv7 are 16 ms), whoever sent them; and every entry is narrow, whatever the length of the names.
-- The same client and key always give the same value, so that a unique index on it stores no key
-- twice. It must never change: the index is ordered by it. The planner puts it in line, for which it
-- must stay one expression, immutable and without settings of its own.
CREATE FUNCTION ledger.key_locator(client text, key text) RETURNS bytea
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN decode(replace(left(replace(key, '-', ''), 11), '\', '\\'), 'escape')
    || substr(sha256(decode(replace(client || chr(31) || key, '\', '\\'), 'escape')), 1, 12);
COMMENT ON FUNCTION ledger.key_locator IS
  'What idempotency keys are unique and looked up by; never changed, for the index is ordered by it.';
REVOKE ALL ON FUNCTION ledger.key_locator FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.key_locator TO paycore_command, paycore_audit;
