"""Declines tell the transaction that stored them."""

from database.migrations.statements import run_file

revision = "0043"
down_revision = "0042"


def upgrade() -> None:
    """Add the column; rows that are there keep none."""
    run_file(__file__)
