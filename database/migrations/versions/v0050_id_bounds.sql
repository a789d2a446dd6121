-- How far the ids of a number may have come, by the clock of whoever held it: written before ids are
-- issued. A number is leased only to a process whose clock is past that, so that no clock that was
-- stepped back gives an id again. Processes of the release before do not write it; they held the
-- number until expires_at at most.
ALTER TABLE ledger.id_leases ADD COLUMN issued_until_ms bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN ledger.id_leases.issued_until_ms IS
  'Milliseconds since 1970 up to which ids of the number may have been issued.';
GRANT UPDATE (issued_until_ms) ON ledger.id_leases TO paycore_command;
