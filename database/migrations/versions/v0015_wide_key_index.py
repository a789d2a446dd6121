"""One index on the keys."""

from database.migrations.statements import run_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Drop the wide index that the locators replace."""
    run_file(__file__)
