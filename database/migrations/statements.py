"""Run the SQL file that stands beside a migration module."""

from pathlib import Path

from alembic import op

# What ALTER ROLE sets begins with a login, and a migration takes its role by SET ROLE.
_AS_THE_ROLE = """\
SELECT pg_catalog.set_config(
  split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1), false)
FROM pg_catalog.pg_roles, unnest(rolconfig) AS setting
WHERE rolname = current_user
"""


def run_file(module_file: str) -> None:
    """Execute the `.sql` file of the same name as `module_file`, as one multi-statement script.

    It runs with the time-outs that roles.sql gives the current role: a migration that cannot have
    its lock gives up, before those who queue behind it notice.
    """
    script = Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")
    # The driver's own execute: SQLAlchemy would take `:name` in the script for a parameter, and
    # without parameters the driver sends several statements at once.
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(_AS_THE_ROLE)
        cursor.execute(script)
    finally:
        cursor.close()
