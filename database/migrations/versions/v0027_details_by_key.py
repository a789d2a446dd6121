"""Whose personal data is where."""

from database.migrations.statements import run_file_outside_transaction

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Build the indexes beside the writers."""
    run_file_outside_transaction(__file__)
