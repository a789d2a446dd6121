"""Where those who change accounts and policy were is sealed, and found by hints."""

from database.migrations.statements import run_file

revision = "0049"
down_revision = "0048"


def upgrade() -> None:
    """Add the columns of traces to ledger.audit, and show them in the trail."""
    run_file(__file__)
