"""Balances that only a transfer can change."""

from database.migrations.statements import run_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Let the tables apply transfers to accounts, and take that right from everyone else."""
    run_file(__file__)
