"""Run the SQL file that stands beside a migration module.

All SQL of a migration stands there, where `make check` looks for what is unsafe on a live table.
"""

import re
from pathlib import Path

from alembic import op

# What ALTER ROLE sets begins with a login, and a migration takes its role by SET ROLE.
_AS_THE_ROLE = """\
SELECT pg_catalog.set_config(
  split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1), false)
FROM pg_catalog.pg_roles, unnest(rolconfig) AS setting
WHERE rolname = current_user
"""

_END = re.compile(r";[ \t]*$", re.MULTILINE)


def run_file(module_file: str) -> None:
    """Execute the `.sql` file of the same name as `module_file`, as one multi-statement script.

    It runs with the time-outs that roles.sql gives the current role: a migration that cannot have
    its lock gives up, before those who queue behind it notice.
    """
    _run([_script(module_file)])


def run_file_outside_transaction(module_file: str) -> None:
    """Execute the statements of the `.sql` file one by one, each for itself.

    For what may stand in no transaction, as CREATE INDEX CONCURRENTLY. A statement ends with a
    semicolon at the end of a line. The file as a whole must be safe to repeat: a failure leaves
    behind what was done before it, and of an index an invalid one. It waits without end for older
    transactions, which stops nobody.
    """
    statements = [one for one in _END.split(_script(module_file)) if one.strip()]
    with op.get_context().autocommit_block():
        _run(["SET lock_timeout = 0", *statements])


def _script(module_file: str) -> str:
    return Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")


def _run(scripts: list[str]) -> None:
    # The driver's own execute: SQLAlchemy would take `:name` in a script for a parameter, and
    # without parameters the driver sends several statements at once.
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(_AS_THE_ROLE)
        for script in scripts:
            cursor.execute(script)
    finally:
        cursor.close()
