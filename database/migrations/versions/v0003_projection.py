"""The projector's own schema."""

from database.migrations.statements import run_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create schema `projection`: how far each sink is, and what it could not take."""
    run_file(__file__)
