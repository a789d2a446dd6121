"""database/schema.sql says what the migrations give, and can be run."""

from __future__ import annotations

import secrets

import psycopg

from deploy.local import Endpoints
from tests.support.databases import OwnDatabase, own_database
from tools.dump_schema import SCHEMA, dump, dump_migrated, load


def test_the_schema_is_what_the_migrations_give(endpoints: Endpoints) -> None:
    written = SCHEMA.read_text(encoding="utf-8")
    assert dump_migrated(endpoints.postgres_admin_dsn) == written, "`make schema` writes it anew"


def test_the_schema_can_be_run(endpoints: Endpoints) -> None:
    written = SCHEMA.read_text(encoding="utf-8")
    with own_database(endpoints, "template0") as empty:
        load(endpoints.postgres_admin_dsn, empty.name, written)
        assert dump(empty.admin_dsn) == written


def test_partitions_are_not_shown(database: OwnDatabase) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute(
            "CREATE TABLE ledger.measured (id bigint PRIMARY KEY) PARTITION BY RANGE (id)"
        )
    shown = dump(database.admin_dsn)
    with psycopg.connect(database.admin_dsn) as connection:
        for number in range(3):
            name = f"ledger.measured_{secrets.token_hex(4)}"
            connection.execute(
                f"CREATE TABLE {name} PARTITION OF ledger.measured"
                f" FOR VALUES FROM ({number}) TO ({number + 1})"
            )
            connection.execute(f"INSERT INTO ledger.measured (id) VALUES ({number})")
    assert "ledger.measured" in shown
    assert dump(database.admin_dsn) == shown
