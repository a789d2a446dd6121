"""What was verified, up to where."""

from alembic import op

from database.migrations.statements import run_file

revision = "0014"
down_revision = "0012"


def upgrade() -> None:
    """Make the record of verifications, and the index by which new keys are found."""
    run_file(__file__)
    with op.get_context().autocommit_block():
        # Some pages for the whole table: keys are written in the order of their journal rows.
        op.execute(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS idempotency_keys_journal"
            " ON ledger.idempotency_keys USING brin (journal_id)"
            " WITH (pages_per_range = 32, autosummarize = on)"
        )
