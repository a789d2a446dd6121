"""Keys of the keystore that come, and that come into use, are security events."""

from database.migrations.statements import run_file

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Make the tables of known keys and of those in use, which tell."""
    run_file(__file__)
