"""Alembic's environment: runs the migrations on the connection handed over by the caller."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table="schema_version",
    version_table_schema="public",
    # What one migration adds may be used by the next only after it has been committed, and no lock
    # is held for longer than one of them takes.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
