"""The query service's role writes nothing again, and no service writes a device in the clear."""

from database.migrations.statements import run_file

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    """Take the rights away."""
    run_file(__file__)
