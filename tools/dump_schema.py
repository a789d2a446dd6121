"""Write database/schema.sql: what the migrations give, as one file to read.

It is taken from a PostgreSQL that is started for it in a folder of its own, and migrated.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from deploy.local import LocalStack
from deploy.local.postgres import programs
from operations.migrate.bootstrap import OWNER, create_database, database_dsn, migrate
from tools.schema_layout import arrange

SCHEMA = Path(__file__).resolve().parent.parent / "database" / "schema.sql"
DUMP_TIMEOUT_S = 60.0

_HEADER = """\
-- The whole that the migrations give, to be read: written by `make schema`, never by hand. Run by
-- paycore_owner after roles.sql, it makes of an empty database what they make of it. Rows are those
-- that the migrations write. Partitions are not shown: they are added by time.

SET check_function_bodies = false;

"""

_ENVIRONMENT = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
}


def dump(dsn: str) -> str:
    """The schema of the database at `dsn`, whose role must see all of it, as schema.sql shows it.

    Raises subprocess.CalledProcessError where pg_dump fails, with what it said on stderr.
    """
    with psycopg.connect(dsn) as connection:
        partitions = connection.execute(
            "SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class"
            " WHERE relispartition AND relkind <> 'i'"
        ).fetchall()
    result = subprocess.run(
        [
            str(programs() / "pg_dump"),
            "--no-owner",
            "--exclude-schema=public",
            "--column-inserts",
            "--rows-per-insert=1000",
            *(f"--exclude-table={name}" for (name,) in partitions),
        ],
        # Not as arguments: those are open to every user of the machine.
        env={**os.environ, **_place(dsn)},
        capture_output=True,
        text=True,
        check=True,
        timeout=DUMP_TIMEOUT_S,
    )
    return _HEADER + arrange(result.stdout)


def load(admin_dsn: str, name: str, text: str) -> None:
    """Run `text`, a schema as `dump` shows it, in the empty database `name`, as its owner."""
    with psycopg.connect(database_dsn(admin_dsn, name)) as connection:
        connection.execute(f"SET ROLE {OWNER}")
        connection.execute(text.encode())


def dump_migrated(admin_dsn: str) -> str:
    """The schema of a new database after all migrations; the server must have the roles.

    In the words in which it stays: PostgreSQL nests an expression otherwise once it has read its
    own text of it, so what is shown is a copy made from the migrated database's dump.
    """
    with _scratch(admin_dsn) as migrated, _scratch(admin_dsn) as copy:
        migrate(admin_dsn, migrated)
        load(admin_dsn, copy, dump(database_dsn(admin_dsn, migrated)))
        return dump(database_dsn(admin_dsn, copy))


@contextmanager
def _scratch(admin_dsn: str) -> Iterator[str]:
    """Name of an empty database, dropped at the end."""
    name = f"schema_{secrets.token_hex(6)}"
    create_database(admin_dsn, name, "template0")
    try:
        yield name
    finally:
        with psycopg.connect(admin_dsn, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def _place(dsn: str) -> dict[str, str]:
    return {
        _ENVIRONMENT[key]: str(value)
        for key, value in conninfo_to_dict(dsn).items()
        if value is not None
    }


def main() -> None:
    """Start a server, migrate, write the file."""
    with tempfile.TemporaryDirectory(prefix="paycore-schema-") as folder:
        stack = LocalStack(Path(folder), parts={"postgres"}, schema=True)
        stack.start()
        try:
            text = dump_migrated(stack.endpoints.postgres_admin_dsn)
        finally:
            stack.stop()
    SCHEMA.write_text(text, encoding="utf-8")
    print(f"wrote {SCHEMA}")


if __name__ == "__main__":
    main()
