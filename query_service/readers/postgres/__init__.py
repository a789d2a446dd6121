"""The readers' port on PostgreSQL: the primary, or a replica of it."""
