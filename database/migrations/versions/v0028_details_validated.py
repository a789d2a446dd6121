"""What was stored before is plain or sealed, too."""

from database.migrations.statements import run_file

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Check the rows that were there."""
    run_file(__file__)
