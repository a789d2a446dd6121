"""Whether work can be ended wherever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

STEPS = 40
"""Turns of the event loop: more than pass until a command has been sent."""


async def assert_ends_anywhere(work: Callable[[], Awaitable[Any]]) -> None:
    """Begin `work` again and again and cancel it one turn of the loop later each time: what takes
    the cancellation must not keep it to itself."""
    for steps in range(STEPS):
        under_way = asyncio.ensure_future(work())
        for _ in range(steps):
            await asyncio.sleep(0)
        wanted = under_way.cancel()
        await asyncio.wait({under_way})
        assert under_way.cancelled() is wanted, steps
