"""What devices touched of late, in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import structlog

import database
from command_service import anew
from command_service.admission.velocity import Bound
from command_service.posting.store import UnreachableError
from command_service.transactions import reading
from paycore.runtime.clock import Clock
from paycore.runtime.metric_definitions import counter
from paycore.runtime.together import Together

AT_ONCE = 100
"""Devices that one statement locks at most: the server has room for so many locks in all."""

MOST_WAITING = 10_000
"""Touches of one process that wait for their statement; beyond them none is let through."""

MOST_BOUNDS = 100
"""Bounds by which touches are gathered; clients have fewer, and only their changes add to them."""

GATHER_S = 0.008
"""How long a busy process lets touches gather, in seconds."""

WITHIN_S = 2.0
"""How long a decision waits for a connection and for the lock of its device, in seconds."""

FORGET_EVERY_S = 60.0
"""How often old rows are removed, in seconds."""

FORGET_AT_ONCE = 200
"""Old rows whose devices one statement locks, to remove what is old of them."""

FORGOTTEN = counter(
    "paycore_touches_forgotten_total",
    "Rows of device_touches removed by age.",
    unit="rows",
)

_FAILURES = (UnreachableError, TimeoutError, asyncpg.LockNotAvailableError)

log = structlog.get_logger()


class PostgresTouches:
    """The table ledger.device_touches. Single touches that wait together share a statement."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._queries: Any = database.load("velocity")
        self._single: dict[Bound, Together[tuple[bytes, bytes], int]] = {}

    async def touch_together(self, device: bytes, subjects: Sequence[bytes], bound: Bound) -> int:
        """As `TouchStore.touch_together`."""
        if len(subjects) == 1:
            return await self._touch(device, subjects[0], bound)
        wait_ms: int = await self._ask(
            self._queries.touch_together,
            device=device,
            subjects=list(subjects),
            **bound._asdict(),
        )
        return wait_ms

    async def touch_each(self, pairs: Sequence[tuple[bytes, bytes]], bound: Bound) -> list[int]:
        """As `TouchStore.touch_each`."""
        waits_ms = [0] * len(pairs)
        # By device, so that no two statements wait for each other. The sort keeps the order of one.
        order = sorted(range(len(pairs)), key=lambda place: pairs[place][0])
        for start in range(0, len(order), AT_ONCE):
            places = order[start : start + AT_ONCE]
            waits = await self._ask(
                self._queries.touch_each,
                devices=[pairs[place][0] for place in places],
                subjects=[pairs[place][1] for place in places],
                **bound._asdict(),
            )
            for place, wait_ms in zip(places, waits, strict=True):
                waits_ms[place] = wait_ms
        return waits_ms

    async def _touch(self, device: bytes, subject: bytes, bound: Bound) -> int:
        single = self._single.get(bound)
        if single is None:
            if len(self._single) >= MOST_BOUNDS:
                # Those who wait by it are answered all the same.
                del self._single[next(iter(self._single))]
            single = self._single[bound] = Together(
                lambda pairs: self.touch_each(pairs, bound),
                at_once=AT_ONCE,
                most_waiting=MOST_WAITING,
                gather_s=GATHER_S,
                refusal=anew.database_unavailable,
            )
        return await single.ask((device, subject))

    async def forget(self, before_us: int) -> int:
        """Remove rows last seen before `before_us`, the oldest; returns how many.

        Raises PaycoreError DATABASE_UNAVAILABLE.
        """
        removed: int = await self._ask(
            self._queries.forget_touches, before_us=before_us, size=FORGET_AT_ONCE
        )
        return removed

    async def _ask(self, query: Any, **values: Any) -> Any:
        try:
            async with asyncio.timeout(WITHIN_S), reading(self._pool) as connection:
                return await query(connection, **values)
        except _FAILURES as error:
            log.warning("touches cannot be counted", error=type(error).__name__)
            raise anew.database_unavailable() from error


class ForgetJob:
    """Removes what is older than every window, until it is cancelled. Each process runs it."""

    def __init__(self, touches: PostgresTouches, window_s: Callable[[], int], clock: Clock) -> None:
        """`window_s` gives the longest window of now, in seconds."""
        self._touches = touches
        self._window_s = window_s
        self._clock = clock

    async def run(self) -> None:
        """Look again and again; a failure waits for the next look."""
        while True:
            removed = 0
            try:
                removed = await self._touches.forget(
                    self._clock.now_us() - self._window_s() * 1_000_000
                )
                FORGOTTEN.inc(removed)
            except Exception as error:
                log.warning("old touches were not removed", error=type(error).__name__)
            if removed < FORGET_AT_ONCE:
                await asyncio.sleep(FORGET_EVERY_S)
