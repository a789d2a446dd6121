"""Fixtures of the local stack's unit tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test's own, gone after it."""
    with tempfile.TemporaryDirectory(prefix="paycore-test-") as name:
        yield Path(name)
