"""What an account's history lists beside its entries, in the order of time."""

from database.migrations.statements import build_on_partitions, run_file_outside_transaction

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    """Build the indexes beside the writers."""
    run_file_outside_transaction(__file__)
    build_on_partitions("ledger", "transfers_held_for")
