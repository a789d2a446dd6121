"""Names and metadata of accounts, and changes that audit themselves."""

from database.migrations.statements import run_file

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Create the tables, and the triggers that write the audit."""
    run_file(__file__)
