"""Raw callers on the running stack."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.local import LocalStack
from tests.support.callers import Callers


@pytest.fixture
async def callers(services: LocalStack) -> AsyncIterator[Callers]:
    """Raw callers, whose connections end with the test."""
    async with Callers(services.endpoints) as callers:
        yield callers
