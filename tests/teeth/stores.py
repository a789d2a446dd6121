"""Stores that the runs share: a stack of their own would take each longer than its tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local import STORES, LocalStack
from tests.teeth.bugs import Bug

_OF_THE_STORES = (
    "database/migrations/",
    "database/roles.sql",
    "database/queries/local_seed.sql",
    "deploy/",
)
"""Paths whose code makes the stores what they are."""

_DISTURBING = "tests/crash/"
"""Tests that stop or kill them."""

Environment = Mapping[str, str]


def needs_none(bug: Bug) -> bool:
    """Whether its tests run without any."""
    return all(test.startswith("tests/unit/") for test in bug.tests)


def needs_own(bug: Bug) -> bool:
    """Whether `bug` shows only in stores that its own run starts."""
    return any(path.startswith(_OF_THE_STORES) for path in bug.paths) or any(
        test.startswith(_DISTURBING) for test in bug.tests
    )


@contextmanager
def shared_stores(folder: Path) -> Iterator[Environment]:
    """Run the stores in `folder`; gives what makes a stack use them instead of its own.

    Raises StackError where they do not start.
    """
    with LocalStack(folder, parts=STORES) as stack:
        endpoints = stack.endpoints
        yield {
            "PAYCORE_STACK_POSTGRES_DSN": endpoints.postgres_admin_dsn,
            "PAYCORE_STACK_REDIS_URL": endpoints.redis_url,
            "PAYCORE_STACK_ELASTICSEARCH_URL": endpoints.elasticsearch_url,
            "PAYCORE_STACK_ELASTICSEARCH_USER": endpoints.elasticsearch_user,
            "PAYCORE_STACK_ELASTICSEARCH_PASSWORD": endpoints.elasticsearch_password,
        }
