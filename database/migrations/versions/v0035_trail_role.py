"""A role that adds security events and can do nothing else."""

from database.migrations.statements import run_file

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    """Let paycore_trail in."""
    run_file(__file__)
