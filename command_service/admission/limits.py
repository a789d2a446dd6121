"""Limits as the tables have them, over those of the configuration, kept fresh in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg

import database
from paycore.domain.limits import Limit, Place, RateLimit, Setting, Source, VelocityLimit
from paycore.runtime.clock import Clock
from paycore.runtime.limits.table import LimitTable, Said
from paycore.runtime.metric_definitions import SECONDS, gauge
from paycore.runtime.refreshed import Refreshed
from paycore.runtime.untold import in_background

AGE = gauge(
    "paycore_limits_age_seconds",
    "Age of the limits in force, as the tables have them.",
    unit=SECONDS,
)

_LIMITS = {limit.value: limit for limit in Limit}


class LimitCache(Refreshed[LimitTable]):
    """The limits of now. While the tables cannot be read the last ones hold, however old."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock, configured: LimitTable) -> None:
        super().__init__("limits", clock)
        self._pool = pool
        self._configured = configured
        self._queries: Any = database.load("rules")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the limits once, then again and again. Raises what asyncpg raises."""
        await self.load()
        AGE.set_function(lambda: self.age_s() or 0.0)
        self._task = in_background(self.run(), "limits-cache")

    async def stop(self) -> None:
        """Stop refreshing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def table(self) -> LimitTable:
        """The limits of now: the same object while they do not change."""
        last = self.last()
        return self._configured if last is None else last

    async def _read(self) -> LimitTable:
        async with self._pool.acquire() as connection:
            changed = limits_of(await self._queries.all_limits(connection))
        last = self.table()
        return last if changed == last.changed else self._configured.with_changes(changed)


def limits_of(rows: Iterable[Mapping[str, Any]]) -> dict[Place, Said]:
    """The limits in rows of ledger.limits.

    A process of an earlier release leaves out what it does not know: that limits nothing in it.
    """
    return {
        Place(row["client"], row["method"], _LIMITS[row["name"]]): Said(
            _setting(row), Source.DATABASE, row["revision"]
        )
        for row in rows
        if row["name"] in _LIMITS
    }


def _setting(row: Mapping[str, Any]) -> Setting:
    if row["switched_off"]:
        return None
    if row["name"] == Limit.VELOCITY:
        return VelocityLimit(row["window_s"], row["payees"], row["identifiers"])
    return RateLimit(row["per_s"], row["burst"])
