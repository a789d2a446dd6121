"""A hold's deadline lies ahead of it, and expires by the database's clock too."""

from database.migrations.statements import run_file

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Check deadlines."""
    run_file(__file__)
