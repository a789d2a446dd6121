"""How keys are found."""

from database.migrations.statements import run_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the narrow value that keys are found by."""
    run_file(__file__)
