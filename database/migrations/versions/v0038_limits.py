"""Limits that change while services run."""

from database.migrations.statements import run_file

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    """Make the table."""
    run_file(__file__)
