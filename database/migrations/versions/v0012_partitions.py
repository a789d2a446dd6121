"""Transfers by the month in which they were posted."""

from database.migrations.statements import run_file

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Put the table under a partitioned one of the same name; no row is moved."""
    run_file(__file__)
