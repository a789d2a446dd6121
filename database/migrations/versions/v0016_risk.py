"""Rules of risk, and the index by which reversals that found too little money are listed."""

from database.migrations.statements import run_file_outside_transaction

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Build the index beside the writers, and make the table."""
    run_file_outside_transaction(__file__)
