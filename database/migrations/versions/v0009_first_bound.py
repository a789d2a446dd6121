"""The bound of the rows that were written before partitions."""

from database.migrations.statements import run_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the bound as a constraint that holds for new rows at once."""
    run_file(__file__)
