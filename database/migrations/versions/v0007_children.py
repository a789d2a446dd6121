"""Transfers that follow another, groups, and the holds that are open."""

from database.migrations.statements import run_file

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add columns and tables; nothing is rewritten."""
    run_file(__file__)
