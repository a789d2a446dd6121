"""Sessions that read one and the same snapshot, and work side by side through a list of steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from database.snapshots import take_snapshot
from operations.verify.steps import Step
from operations.verify.tally import Finding, Tally

CONNECT_TIMEOUT_S = 5.0

Progress = Callable[[int, int], None]
"""Told how much of how much is done."""


def no_progress(done: int, total: int) -> None:
    """For callers who do not show it."""


@asynccontextmanager
async def open_readers(
    dsn: str, queries: Any, count: int
) -> AsyncIterator[list[asyncpg.Connection]]:
    """`count` sessions, each in a transaction on the snapshot of the first.

    Raises what asyncpg raises when the server cannot be reached.
    """
    async with AsyncExitStack() as stack:
        readers: list[asyncpg.Connection] = []
        shared = ""
        for _ in range(count):
            reader = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
            stack.push_async_callback(reader.close)
            await stack.enter_async_context(
                reader.transaction(isolation="repeatable_read", readonly=True)
            )
            if readers:
                await take_snapshot(reader, shared)
            else:
                shared = await queries.share_snapshot(reader)
            await queries.prepare(reader)
            readers.append(reader)
        yield readers


async def run_steps(
    readers: Sequence[asyncpg.Connection], steps: Sequence[Step], progress: Progress
) -> Tally:
    """Do all steps, each by the first reader that is free."""
    tally = Tally()
    total = sum(step.weight for step in steps)
    done = 0
    waiting = iter(enumerate(steps))
    progress(0, total)

    async def work(reader: asyncpg.Connection, waiting: Iterator[tuple[int, Step]]) -> None:
        nonlocal done
        for number, step in waiting:
            tally.add(number, await _do(reader, step))
            done += step.weight
            progress(done, total)

    tasks = [asyncio.create_task(work(reader, waiting)) for reader in readers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return tally


async def _do(reader: asyncpg.Connection, step: Step) -> Sequence[Finding]:
    try:
        async with reader.transaction():
            return await step.work(reader)
    except asyncpg.DataError as error:
        # A figure so far out that it cannot be reckoned with is itself a breach.
        return [Finding(step.rule, 0, 1, {"unreadable": str(error)})]
