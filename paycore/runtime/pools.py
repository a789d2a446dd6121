"""Pools of connections that tell Prometheus how much of them is in use, and who waited for it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from math import nan
from time import perf_counter
from typing import Any

import asyncpg

from paycore.runtime.metric_definitions import SECONDS, gauge, histogram, of


class PoolName(StrEnum):
    """What a pool's connections are for."""

    POSTING = "posting"
    READING = "reading"
    """Of the command service: look-ups, accounts, rules."""
    RISK = "risk"
    IDS = "ids"
    EVENTS = "events"
    SIGNING = "signing"
    HISTORY = "history"
    IDENTIFIERS = "identifiers"
    GRANTS = "grants"
    WATCHES = "watches"


_LOOKS = 3

POOL = {"pool": of(PoolName)}

OPEN = gauge(
    "paycore_database_pool_connections",
    "Connections of the pool that are open, in use or not.",
    unit="connections",
    labels=POOL,
)
MOST = gauge(
    "paycore_database_pool_connections_max",
    "Connections that the pool may have.",
    unit="connections",
    labels=POOL,
)
IN_USE = gauge(
    "paycore_database_pool_connections_in_use",
    "Connections of the pool that somebody uses now.",
    unit="connections",
    labels=POOL,
)
WAITING = gauge(
    "paycore_database_pool_waiting",
    "Who waits for a connection of the pool now.",
    unit="waiting",
    labels=POOL,
)
WAIT_SECONDS = histogram(
    "paycore_database_pool_wait_seconds",
    "How long those waited who found no connection free, also those who gave up; nobody else is"
    " counted.",
    unit=SECONDS,
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0),
    labels=POOL,
)


class MeasuredPool(asyncpg.Pool):  # type: ignore[misc]  # asyncpg has no types
    """asyncpg's pool, of which it is known who waits.

    asyncpg itself does not tell: what is used of its inside is the one coroutine through which all
    connections are had, and its queue of those that are free.
    """

    def __init__(self, *args: Any, name: PoolName, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._waiting_now = 0
        self._wait_seconds = WAIT_SECONDS.labels(name.value)
        # Asked when somebody looks. A later pool of the same name takes the place of this one.
        MOST.labels(name.value).set_function(self.get_max_size)
        OPEN.labels(name.value).set_function(lambda: _seen(self.get_size))
        IN_USE.labels(name.value).set_function(lambda: _seen(self._in_use))
        WAITING.labels(name.value).set_function(lambda: self._waiting_now)

    def _in_use(self) -> int:
        size: int = self.get_size()
        return size - int(self.get_idle_size())

    async def _acquire(self, timeout: float | None) -> Any:
        if not self._queue.empty() or self.is_closing():
            return await super()._acquire(timeout)
        began_s = perf_counter()
        self._waiting_now += 1
        try:
            return await super()._acquire(timeout)
        finally:
            self._waiting_now -= 1
            self._wait_seconds.observe(perf_counter() - began_s)


def _seen(count: Callable[[], int]) -> float:
    """What `count` says to another thread than the pool's own."""
    for _ in range(_LOOKS):
        try:
            return count()
        except AttributeError:
            # A connection was closed between asyncpg's two looks at it.
            continue
    return nan
