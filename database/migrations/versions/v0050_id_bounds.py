"""How far the ids of each instance number may have come."""

from database.migrations.statements import run_file

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    """Add ledger.id_leases.issued_until_ms."""
    run_file(__file__)
