"""One authorization for each payer of a group."""

from database.migrations.statements import run_file_outside_transaction

revision = "0071"
down_revision = "0070"


def upgrade() -> None:
    """Build the index beside the writers."""
    run_file_outside_transaction(__file__)
