"""How a migration runs beside everyone else."""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from database.migrations.statements import run_file
from tests.support.databases import OwnDatabase


def test_a_migration_has_the_time_outs_of_the_role_that_it_takes(
    database: OwnDatabase, tmp_path: Path
) -> None:
    (tmp_path / "v9999_look.sql").write_text(
        "CREATE TABLE public.seen AS SELECT current_setting(name) AS value FROM unnest(ARRAY["
        "'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout',"
        " 'search_path']) WITH ORDINALITY AS wanted (name, place) ORDER BY place"
    )
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database.admin_dsn)
    )
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL ROLE paycore_owner")
            with Operations.context(MigrationContext.configure(connection)):
                run_file(str(tmp_path / "v9999_look.py"))
            seen = connection.exec_driver_sql("SELECT value FROM public.seen").scalars().all()
    finally:
        engine.dispose()
    assert seen == ["5s", "0", "1min", '""']
