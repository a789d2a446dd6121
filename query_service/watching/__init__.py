"""Watching accounts: one tail of the journal a process, fanned out, and joined to the past."""
