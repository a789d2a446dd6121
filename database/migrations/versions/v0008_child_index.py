"""The index by which a parent's latest child is found."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Build the index beside the writers, and check the constraints that are not valid yet."""
    with op.get_context().autocommit_block():
        op.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS transfers_child"
            " ON ledger.transfers (parent_id, parent_sequence) WHERE parent_id IS NOT NULL"
        )
    op.execute("ALTER TABLE ledger.transfers VALIDATE CONSTRAINT transfers_legs")
    op.execute("ALTER TABLE ledger.transfers VALIDATE CONSTRAINT transfers_child")
    op.execute("ALTER TABLE ledger.transfers VALIDATE CONSTRAINT transfers_extras")
