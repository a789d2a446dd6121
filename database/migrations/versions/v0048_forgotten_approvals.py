"""What a person approved payments with goes with the person's erasure."""

from database.migrations.statements import run_file

revision = "0048"
down_revision = "0047"


def upgrade() -> None:
    """Let the keys of revoked devices be forgotten, and add signing.forget_approvals."""
    run_file(__file__)
