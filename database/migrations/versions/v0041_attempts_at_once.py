"""Attempts of many users reserved in one statement."""

from database.migrations.statements import run_file

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    """Add signing.reserve_each."""
    run_file(__file__)
