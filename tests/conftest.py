"""What all tests share: one stack a session, and for each test a database and a prefix of its own.

Nothing starts before a test asks for it, so unit tests stay quick. Tests that disturb the stack run
last, and leave it running.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import settings

from deploy.local import ALL_PARTS, STORES, Endpoints, LocalStack
from deploy.local.settings import StackSettings
from tests.support.databases import OwnDatabase, own_database, prepare_template, spare_the_disk
from tests.support.dealing import Dealer, place
from tests.support.first_index import await_index
from tests.support.run_folder import run_folder
from tests.support.seeds import rounds, seeded

# No example database: a run leaves nothing behind, and a failure prints how to repeat it.
settings.register_profile(
    "paycore",
    database=None,
    deadline=None,
    print_blob=True,
    max_examples=rounds("PAYCORE_EXAMPLES", 100),
)
settings.load_profile("paycore")

LOGS_VARIABLE = "PAYCORE_TEST_LOGS"
"""Folder to which the stack's logs are copied before its own folder goes."""


def pytest_configure() -> None:
    """Let SIGTERM end a run as Ctrl-C does: with the stack stopped and its folder gone."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # With the values of every frame's variables a traceback in the log takes seconds.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], console])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what disturbs the stack after everything that needs it calm, and long files early."""
    items.sort(key=lambda item: place(item.path.relative_to(config.rootpath).as_posix()))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Dealer:
    """Deal out the tests to several processes by our own rules."""
    return Dealer(config, log)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[LocalStack]:
    """The local stack: real stores and, where a test of this run asks for them, the services."""
    asked = any("services" in getattr(item, "fixturenames", ()) for item in request.session.items)
    with run_folder() as folder:
        stack = LocalStack(
            folder,
            processes=2,
            parts=ALL_PARTS if asked else STORES,
            schema=True,
            # Beside another process of tests nothing would be left for what steps back.
            settings=StackSettings(read_side_niceness=0),
        )
        try:
            stack.start()
            # A server that somebody else runs is left as it is.
            if "postgres" in stack.parts:
                spare_the_disk(stack.endpoints)
            yield stack
        finally:
            stack.stop()
            if LOGS_VARIABLE in os.environ:
                shutil.copytree(folder / "logs", os.environ[LOGS_VARIABLE], dirs_exist_ok=True)


@pytest.fixture(scope="session")
def endpoints(stack: LocalStack) -> Endpoints:
    """Where everything is reached; the services' own database is `paycore`."""
    return stack.endpoints


@pytest.fixture(scope="session")
def services(stack: LocalStack) -> LocalStack:
    """The stack with its services: ask for it, directly or not, wherever they are called."""
    await_index(stack.endpoints)
    return stack


@pytest.fixture(scope="session")
def template(endpoints: Endpoints) -> str:
    """Name of a migrated database with the local callers' grants, to copy."""
    return prepare_template(endpoints)


@pytest.fixture
def database(endpoints: Endpoints, template: str) -> Iterator[OwnDatabase]:
    """An empty ledger that only this test uses."""
    with own_database(endpoints, template) as own:
        yield own


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Chance whose seed is printed when the test fails."""
    return seeded(request.node.nodeid)
