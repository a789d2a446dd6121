"""How keys are found, and what keeps them unique."""

from alembic import op

from database.migrations.statements import run_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the narrow value that keys are found by, and build its index beside the writers."""
    run_file(__file__)
    with op.get_context().autocommit_block():
        # One that was left unfinished is there, but not valid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ledger.idempotency_keys_once")
        op.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY idempotency_keys_once"
            " ON ledger.idempotency_keys (ledger.key_locator(client, key))"
        )
    # Statistics of the index's own values, for the plan of the look-up.
    op.execute("ANALYZE ledger.idempotency_keys")
