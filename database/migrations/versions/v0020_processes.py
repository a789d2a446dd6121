"""Which processes the schema bears."""

from database.migrations.statements import run_file

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Let every process see the schema's version, and whether it is too old for it."""
    run_file(__file__)
