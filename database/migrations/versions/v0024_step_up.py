"""PINs that are changed and reset, and keys of devices."""

from database.migrations.statements import run_file

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Add what the whole life of PINs and of device keys needs."""
    run_file(__file__)
