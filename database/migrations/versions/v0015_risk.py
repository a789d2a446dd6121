"""Rules of risk, and the index by which refused reversals are listed."""

from alembic import op

from database.migrations.statements import run_file

revision = "0015"
down_revision = "0012"


def upgrade() -> None:
    """Build the index beside the writers, then make the table."""
    with op.get_context().autocommit_block():
        op.execute(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS declines_short_reversals"
            " ON ledger.declines (parent_id, id DESC)"
            " WHERE kind = 'REVERSAL' AND reason = 'INSUFFICIENT_FUNDS'"
        )
    run_file(__file__)
