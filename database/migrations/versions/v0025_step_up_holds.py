"""The new constraints hold for every row."""

from database.migrations.statements import run_file

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Check the rows that were there before, while others write."""
    run_file(__file__)
