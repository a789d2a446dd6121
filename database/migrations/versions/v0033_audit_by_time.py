"""The audit in the order of time."""

from database.migrations.statements import run_file_outside_transaction

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Build the index beside the writers."""
    run_file_outside_transaction(__file__)
