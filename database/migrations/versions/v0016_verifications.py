"""What was verified, up to where."""

from database.migrations.statements import run_file

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the record of verifications."""
    run_file(__file__)
