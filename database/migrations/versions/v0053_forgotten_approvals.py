"""What a person approved payments with goes with the person's erasure."""

from database.migrations.statements import run_file

revision = "0053"
down_revision = "0045"


def upgrade() -> None:
    """Let the keys of revoked devices be forgotten, and add signing.forget_approvals."""
    run_file(__file__)
