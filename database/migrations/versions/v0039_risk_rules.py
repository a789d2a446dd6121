"""Rules of risk that are changed through a service."""

from database.migrations.statements import run_file

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    """Give rules a revision, and the service the right to change them."""
    run_file(__file__)
