"""An account's declines in the order of the journal."""

from database.migrations.statements import run_file_outside_transaction

revision = "0044"
down_revision = "0043"


def upgrade() -> None:
    """Build the index beside the writers."""
    run_file_outside_transaction(__file__)
