"""History that nobody changes."""

from database.migrations.statements import run_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Refuse changes of what was written, whoever asks."""
    run_file(__file__)
