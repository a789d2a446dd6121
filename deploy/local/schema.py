"""Bringing the database up: roles, schema, and what the local callers need."""

import threading

import psycopg

from deploy.local.endpoints import DATABASE, Endpoints
from deploy.local.errors import StackError

# Alembic keeps its context in module globals, so two stacks of one process take turns.
_alembic = threading.Lock()


def prepare_database(endpoints: Endpoints, roles: dict[str, str]) -> None:
    """Create or update the database `paycore` and seed the local callers. Idempotent.

    Called in this process and not as a program: its arguments would show a password to every
    user of the machine. Raises StackError where the server refuses.
    """
    # Imported here: it is half of what a command line that only reads endpoints would wait for.
    from operations.migrate.bootstrap import bootstrap
    from operations.migrate.local_seed import seed_local
    from operations.migrate.partitions import add_partitions

    try:
        with _alembic:
            bootstrap(endpoints.postgres_admin_dsn, DATABASE, roles)
        owner_dsn = endpoints.postgres_dsn["paycore_owner"]
        add_partitions(owner_dsn)
        seed_local(owner_dsn)
    except psycopg.Error as error:
        raise StackError(f"the database could not be prepared: {error}") from error
