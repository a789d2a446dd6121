"""What the search index consists of, and what operators ask of the projector."""

from database.migrations.statements import run_file

revision = "0045"
down_revision = "0044"


def upgrade() -> None:
    """Create projection.generations and projection.requests."""
    run_file(__file__)
