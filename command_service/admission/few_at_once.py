"""Doing something for many of one request, without taking all room for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

AT_ONCE = 16
"""Payments of one request that are being checked at the same time."""


async def few_at_once(check: Callable[[int], Awaitable[None]], places: Sequence[int]) -> None:
    """`check` each of `places`, AT_ONCE of them at a time, begun in their order."""
    waiting = iter(places)

    async def work() -> None:
        for at in waiting:
            await check(at)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(places))):
            group.create_task(work())
