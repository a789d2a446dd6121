"""What was stored before is of one transfer, too."""

from database.migrations.statements import run_file

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Check the rows that were there."""
    run_file(__file__)
