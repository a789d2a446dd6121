"""Touches of many devices in one statement."""

from database.migrations.statements import run_file

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    """Add ledger.touch_each."""
    run_file(__file__)
