"""What tests of the engine without a database share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from command_service import anew
from tests.support.engine_world import World, nothing_fails


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """An engine's, in which pauses take no time and nothing goes wrong unheard."""
    world = World()
    monkeypatch.setattr(anew, "pause", world.pause)
    async with nothing_fails():
        yield world
