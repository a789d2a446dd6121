"""How verification finds the keys of new journal rows."""

from database.migrations.statements import run_file_outside_transaction

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Build the index beside the writers."""
    run_file_outside_transaction(__file__)
