"""Run the SQL file that stands beside a migration module."""

from pathlib import Path

from alembic import op


def run_file(module_file: str) -> None:
    """Execute the `.sql` file of the same name as `module_file`, as one multi-statement script."""
    script = Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")
    # The driver's own execute: SQLAlchemy would take `:name` in the script for a parameter, and
    # without parameters the driver sends several statements at once.
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(script)
    finally:
        cursor.close()
