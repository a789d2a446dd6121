"""Kinds of transfer that follow another, and what may be done with them."""

from database.migrations.statements import run_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the values: they can be used only after this has been committed."""
    run_file(__file__)
