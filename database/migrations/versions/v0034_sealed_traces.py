"""Where a person was is sealed in security events, and found by hints."""

from database.migrations.statements import run_file

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Add the columns of traces, and show them in the trail."""
    run_file(__file__)
