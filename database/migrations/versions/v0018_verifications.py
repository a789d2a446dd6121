"""What was verified, up to where."""

from database.migrations.statements import run_file

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the record of verifications."""
    run_file(__file__)
