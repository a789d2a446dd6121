"""The chain of seals over the journal."""

from database.migrations.statements import run_file

revision = "0047"
down_revision = "0046"


def upgrade() -> None:
    """Create ledger.seals."""
    run_file(__file__)
