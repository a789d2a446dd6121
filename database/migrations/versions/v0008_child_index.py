"""The index by which a parent's latest child is found."""

from database.migrations.statements import run_file_outside_transaction

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Build the index beside the writers."""
    run_file_outside_transaction(__file__)
