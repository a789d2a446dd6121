"""Policies of more than a threshold, authorizations of groups, and who may change policy."""

from database.migrations.statements import run_file

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Widen the tables."""
    run_file(__file__)
