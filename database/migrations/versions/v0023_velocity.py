"""What devices touched of late."""

from database.migrations.statements import run_file

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Make the table of touches and the function that alone adds to it."""
    run_file(__file__)
