"""A database of its own for each test, copied from a migrated template in a tenth of a second."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from deploy.local import Endpoints
from deploy.local.endpoints import with_place
from operations.migrate.bootstrap import create_database, migrate
from operations.migrate.local_seed import seed_local

TEMPLATE = "paycore_template"
"""Migrated and with the local callers' grants; nobody connects to it, so it can be copied."""


@dataclass(frozen=True, slots=True)
class OwnDatabase:
    """A database that only one test uses."""

    name: str
    endpoints: Endpoints

    def dsn(self, role: str) -> str:
        """DSN of `paycore_<role>`: owner, command, signing, projector, query or audit."""
        return self.endpoints.dsn(f"paycore_{role}", self.name)

    @property
    def admin_dsn(self) -> str:
        """DSN of the server's superuser."""
        return with_place(self.endpoints.postgres_admin_dsn, database=self.name)


def spare_the_disk(endpoints: Endpoints) -> None:
    """Have the server never wait for its disk, which databases that come and go keep busy.

    What is committed survives the killing of the server all the same, not a power cut.
    """
    with psycopg.connect(endpoints.postgres_admin_dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")


def prepare_template(endpoints: Endpoints) -> str:
    """Make the template where it is missing; returns its name."""
    create_database(endpoints.postgres_admin_dsn, TEMPLATE)
    migrate(endpoints.postgres_admin_dsn, TEMPLATE)
    seed_local(endpoints.dsn("paycore_owner", TEMPLATE))
    return TEMPLATE


@contextmanager
def own_database(endpoints: Endpoints, template: str) -> Iterator[OwnDatabase]:
    """A copy of `template`, dropped at the end whoever is still connected to it."""
    name = f"t{secrets.token_hex(6)}"
    create_database(endpoints.postgres_admin_dsn, name, template)
    try:
        yield OwnDatabase(name, endpoints)
    finally:
        with psycopg.connect(endpoints.postgres_admin_dsn, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def with_setting(dsn: str, setting: str) -> str:
    """`dsn`, which must be in URL form, with a server setting (`name=value`) for its sessions."""
    return f"{dsn}{'&' if '?' in dsn else '?'}{setting}"
