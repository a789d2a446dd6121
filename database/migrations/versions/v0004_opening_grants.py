"""Grants for openings through which money could enter."""

from database.migrations.statements import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add OPEN_EXTERNAL and SET_OVERDRAFT to the actions that grants name."""
    run_file(__file__)
