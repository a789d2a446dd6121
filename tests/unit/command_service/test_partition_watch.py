"""The watch looks again and again, whatever a look comes to."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from command_service.posting import partition_watch
from command_service.posting.partition_watch import EVERY_S, PartitionWatch
from command_service.posting.store import UnreachableError
from tests.support.clocks import ManualClock


async def test_a_look_that_fails_waits_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [UnreachableError("gone"), asyncpg.PostgresError("no"), ValueError("a defect")]
    looks: list[int] = []
    pauses: list[float] = []

    async def look() -> None:
        looks.append(len(pauses))
        if failures:
            raise failures.pop()

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 5:
            raise asyncio.CancelledError

    pool: Any = None
    watch = PartitionWatch(pool, ManualClock())
    monkeypatch.setattr(watch, "look", look)
    # Of this module alone: others in this process sleep on.
    monkeypatch.setattr(partition_watch, "asyncio", SimpleNamespace(sleep=sleep))
    assert math.isnan(watch.left_s())
    with pytest.raises(asyncio.CancelledError):
        await watch.run()
    assert looks == [0, 1, 2, 3, 4]
    assert pauses == [EVERY_S] * 5
