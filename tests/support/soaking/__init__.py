"""Load that does not wait for answers, and what becomes of a system under it for long."""
