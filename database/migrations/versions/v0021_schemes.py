"""Who may give accounts names of which scheme."""

from database.migrations.statements import run_file

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Create the table; until it has rows, nobody links names of any scheme."""
    run_file(__file__)
