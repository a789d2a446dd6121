"""Watches how long transfers still have a partition to go to. Without one they cannot be posted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import structlog

import database
from command_service.posting.store import UnreachableError
from command_service.transactions import reading
from paycore.runtime.clock import Clock
from paycore.runtime.metric_definitions import SECONDS, gauge

EVERY_S = 600.0
"""How often it looks, in seconds; the gauge runs down in between."""

WARN_BELOW_S = 30 * 86_400.0
"""Time left, in seconds, below which each look is a warning in the log."""

LEFT = gauge(
    "paycore_transfer_partitions_end_seconds",
    "Time until the last partition of transfers that is ready ends, in seconds; NaN until known.",
    unit=SECONDS,
)

log = structlog.get_logger()


class PartitionWatch:
    """Looks again and again until it is cancelled."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._queries: Any = database.load("partitions")
        self._until_us: int | None = None
        LEFT.set_function(self.left_s)

    async def run(self) -> None:
        """Look; a failure waits for the next look, and payments go on."""
        while True:
            try:
                await self.look()
            except (UnreachableError, asyncpg.PostgresError) as error:
                log.warning("partitions were not looked at", error=type(error).__name__)
            except Exception as error:
                # Nobody else would say that partitions run out.
                log.exception("partitions were not looked at", error=type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Read until when there are partitions. Raises UnreachableError or what asyncpg raises."""
        async with reading(self._pool) as connection:
            until: datetime = await self._queries.covered_until(connection)
        self._until_us = int(until.timestamp() * 1_000_000)
        left_s = self.left_s()
        if left_s < WARN_BELOW_S:
            log.warning(
                "transfers run out of partitions: run `python -m operations.migrate partitions`",
                until=until.astimezone(UTC).date().isoformat(),
                days_left=round(left_s / 86_400, 1),
            )

    def left_s(self) -> float:
        """Seconds until the last partition ends; below zero when it has ended."""
        if self._until_us is None:
            return float("nan")
        return (self._until_us - self._clock.now_us()) / 1_000_000
