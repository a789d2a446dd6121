"""Personal data sealed under the keys of its subjects, which can be destroyed."""

from database.migrations.statements import run_file

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Create the keys, the columns beside the plain ones, and the tombstones."""
    run_file(__file__)
