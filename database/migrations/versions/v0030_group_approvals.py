"""One authorization for each payer of a group."""

from database.migrations.statements import run_file_outside_transaction

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Build the index beside the writers."""
    run_file_outside_transaction(__file__)
