"""Subscriptions to events, their secrets, and what is delivered to them."""

from database.migrations.statements import run_file

revision = "0046"
down_revision = "0045"


def upgrade() -> None:
    """Create the schema webhooks."""
    run_file(__file__)
