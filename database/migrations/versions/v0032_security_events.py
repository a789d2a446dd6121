"""What happened that matters to security."""

from database.migrations.statements import run_file

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Make the tables of security events, and one list of them with the audit."""
    run_file(__file__)
