"""The signing service's own schema."""

from database.migrations.statements import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create schema `signing`, its tables and the rights of paycore_signing on them."""
    run_file(__file__)
