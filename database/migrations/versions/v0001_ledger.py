"""The ledger schema."""

from database.migrations.statements import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create schema `ledger`, its tables and the rights of the roles on them."""
    run_file(__file__)
