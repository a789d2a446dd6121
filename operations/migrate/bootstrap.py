"""Create the roles and the database, and bring its schema up to date."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

import database

_SQL = Path(database.__file__).parent
OWNER = "paycore_owner"
_MAY_CONNECT = ("command", "signing", "projector", "query", "audit", "trail", "operator")
_MIGRATION_LOCK = 0x7061_7963_6F72_65
"""Advisory lock held while migrating, so that two bootstraps cannot interleave."""


def create_roles(admin_dsn: str, passwords: Mapping[str, str]) -> None:
    """Create the roles of roles.sql and set their passwords; safe to repeat."""
    with psycopg.connect(admin_dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        with connection.cursor() as cursor:
            cursor.execute((_SQL / "roles.sql").read_bytes())
            for role, password in passwords.items():
                cursor.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(password)
                    )
                )


def create_database(admin_dsn: str, name: str, template: str | None = None) -> None:
    """Create database `name`, owned by paycore_owner; no effect where it exists."""
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if found.fetchone() is not None:
            return
        statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(
            sql.Identifier(name), sql.Identifier(OWNER)
        )
        if template is not None:
            # File by file: page by page through the log takes twice the time.
            statement += sql.SQL(" TEMPLATE {} STRATEGY file_copy").format(sql.Identifier(template))
        connection.execute(statement)
        connection.execute(
            sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
        )
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(name),
                sql.SQL(", ").join(sql.Identifier(f"paycore_{role}") for role in _MAY_CONNECT),
            )
        )


def database_dsn(dsn: str, name: str) -> str:
    """`dsn` with its database replaced by `name`."""
    return make_conninfo(dsn, dbname=name)


def _engine(dsn: str) -> Engine:
    return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))


LATEST = "head"


def migrate(admin_dsn: str, name: str, to: str = LATEST) -> None:
    """Run the migrations up to `to` that database `name` lacks, as its owner, each in its own
    transaction.

    One that fails leaves those before it in place; the next call goes on from there.
    """
    engine = _engine(database_dsn(admin_dsn, name))
    try:
        with engine.connect() as connection:
            # The session's own lock and role: they outlast the transactions, and end with it.
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})")
            connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS public")
            connection.exec_driver_sql(f"GRANT CREATE, USAGE ON SCHEMA public TO {OWNER}")
            connection.exec_driver_sql(f"SET ROLE {OWNER}")
            connection.commit()
            config = Config()
            config.set_main_option("script_location", str(_SQL / "migrations"))
            config.attributes["connection"] = connection
            command.upgrade(config, to)
    finally:
        engine.dispose()


def bootstrap(admin_dsn: str, name: str, passwords: Mapping[str, str], to: str = LATEST) -> None:
    """Everything a fresh or an older server needs; safe to repeat."""
    create_roles(admin_dsn, passwords)
    create_database(admin_dsn, name)
    migrate(admin_dsn, name, to)
