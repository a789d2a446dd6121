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

# Partitions without their part of an index of the whole, and what is left of a failed build.
_LACKING = """\
SELECT child.relname, broken.relname
FROM pg_catalog.pg_index AS whole
JOIN pg_catalog.pg_class AS index ON index.oid = whole.indexrelid
JOIN pg_catalog.pg_inherits AS link ON link.inhparent = whole.indrelid
JOIN pg_catalog.pg_class AS child ON child.oid = link.inhrelid
LEFT JOIN pg_catalog.pg_class AS broken
  ON broken.relnamespace = child.relnamespace AND broken.relname = child.relname || %s::text
WHERE index.relname = %s AND index.relnamespace = %s::regnamespace
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_inherits AS attached
    JOIN pg_catalog.pg_index AS part ON part.indexrelid = attached.inhrelid
    WHERE attached.inhparent = whole.indexrelid AND part.indrelid = child.oid
  )
ORDER BY child.relname
"""

_DEFINITION = "SELECT pg_catalog.pg_get_indexdef(format('%%I.%%I', %s::text, %s::text)::regclass)"

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


def build_on_partitions(schema: str, index: str) -> None:
    """Give each partition its part of `index`, made ON ONLY the whole, beside the writers.

    A partition that is made meanwhile, or later, gets its part with its attachment. Safe to repeat.
    """
    suffix = "_" + index.partition("_")[2]
    with op.get_context().autocommit_block():
        cursor = op.get_bind().connection.cursor()
        try:
            cursor.execute(_AS_THE_ROLE)
            cursor.execute("SET lock_timeout = 0")
            cursor.execute(_DEFINITION, (schema, index))
            (definition,) = cursor.fetchall()[0]
            _, _, key = definition.partition(" USING ")
            cursor.execute(_LACKING, (suffix, index, schema))
            for partition, broken in cursor.fetchall():
                part = f"{partition}{suffix}"
                if broken is not None:
                    cursor.execute(f'DROP INDEX CONCURRENTLY {schema}."{broken}"')
                cursor.execute(
                    f'CREATE INDEX CONCURRENTLY "{part}" ON {schema}."{partition}" USING {key}'
                )
                cursor.execute(f'ALTER INDEX {schema}.{index} ATTACH PARTITION {schema}."{part}"')
        finally:
            cursor.close()


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
