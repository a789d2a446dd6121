"""Limits that change while services run."""

from database.migrations.statements import run_file

revision = "0050"
down_revision = "0033"


def upgrade() -> None:
    """Make the table."""
    run_file(__file__)
