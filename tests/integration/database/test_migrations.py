"""How a migration runs beside everyone else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from database.migrations.statements import run_file, run_file_outside_transaction
from deploy.local import Endpoints
from operations.migrate.bootstrap import create_database, database_dsn, migrate
from tests.support.databases import OwnDatabase

LOOK = """
INSERT INTO public.seen
  SELECT current_setting(name)
  FROM unnest(ARRAY['lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout',
                    'search_path']) AS wanted (name);
"""


@contextmanager
def migrating(database: OwnDatabase) -> Iterator[None]:
    """Within it, the functions of a migration work on `database`, as its owner."""
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database.admin_dsn)
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE public.seen (value text)")
            connection.exec_driver_sql("GRANT ALL ON public.seen TO paycore_owner")
            connection.exec_driver_sql("SET ROLE paycore_owner")
            connection.commit()
            context = MigrationContext.configure(
                connection, opts={"transaction_per_migration": True}
            )
            with context.begin_transaction(_per_migration=True), Operations.context(context):
                yield
    finally:
        engine.dispose()


def seen(database: OwnDatabase) -> list[str]:
    with psycopg.connect(database.admin_dsn) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM public.seen")]


def script(folder: Path, text: str) -> str:
    """The module file of a migration whose script is `text`."""
    (folder / "v9999_extra.sql").write_text(text, encoding="utf-8")
    return str(folder / "v9999_extra.py")


def test_a_migration_has_the_time_outs_of_the_role_that_it_takes(
    database: OwnDatabase, tmp_path: Path
) -> None:
    with migrating(database):
        run_file(script(tmp_path, LOOK))
    assert seen(database) == ["5s", "0", "1min", '""']


def test_a_migration_that_fails_leaves_nothing(database: OwnDatabase, tmp_path: Path) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), migrating(database):
        run_file(script(tmp_path, f"{LOOK} SELECT 1 / 0;"))
    assert seen(database) == []


def test_an_index_is_built_outside_a_transaction_and_may_wait(
    database: OwnDatabase, tmp_path: Path
) -> None:
    text = (
        "-- Why; and how.\n"
        "DROP INDEX CONCURRENTLY IF EXISTS ledger.extra;\n"
        "CREATE INDEX CONCURRENTLY extra\n  ON ledger.declines (amount);\n"
        f"{LOOK}\n"
    )
    for _ in range(2):
        with psycopg.connect(database.admin_dsn) as connection:
            connection.execute("DROP TABLE IF EXISTS public.seen")
        with migrating(database):
            run_file_outside_transaction(script(tmp_path, text))
    with psycopg.connect(database.admin_dsn) as connection:
        row = connection.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ledger.extra'::regclass"
        ).fetchone()
    assert row == (True,)
    assert seen(database) == ["0", "0", "1min", '""']


def test_a_migration_that_could_not_have_its_lock_can_be_run_again(endpoints: Endpoints) -> None:
    """With the one that takes the hardest lock of all: it waits for its five seconds."""
    admin, name = endpoints.postgres_admin_dsn, f"t{secrets.token_hex(6)}"
    create_database(admin, name)
    try:
        migrate(admin, name, "0011")
        before = _ledger(database_dsn(admin, name))
        with psycopg.connect(database_dsn(admin, name)) as reader:
            reader.execute("SELECT FROM ledger.transfers")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                migrate(admin, name)
        assert _ledger(database_dsn(admin, name)) == before
        migrate(admin, name)
        assert _ledger(database_dsn(admin, name))[0] != before[0]
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _ledger(dsn: str) -> tuple[str, list[tuple[str, str]]]:
    """The version of the schema, and its relations by kind."""
    with psycopg.connect(dsn) as connection:
        (version,) = connection.execute(
            "SELECT version_num FROM public.schema_version"
        ).fetchone() or ("none",)
        relations = connection.execute(
            "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'ledger'::regnamespace"
            " ORDER BY relname"
        ).fetchall()
    return version, relations
