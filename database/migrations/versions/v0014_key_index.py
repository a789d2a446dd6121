"""What keeps keys unique from now on."""

from database.migrations.statements import run_file_outside_transaction

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Build the index beside the writers."""
    run_file_outside_transaction(__file__)
