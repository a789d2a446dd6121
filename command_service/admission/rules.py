"""Grants and step-up thresholds, kept fresh in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import structlog

import database
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.planning import Rules
from paycore.runtime.clock import Clock
from paycore.runtime.database import DISCONNECTED

REFRESH_EVERY_S = 2.0
"""How long a changed grant or threshold may take to hold everywhere, in seconds."""

STALE_AFTER_S = 60.0
"""Age at which rules that could not be read again are no longer trusted, in seconds."""

log = structlog.get_logger()


class RulesCache:
    """The rules of now. Fails closed: rules that are too old decide nothing."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._queries: Any = database.load("rules")
        self._rules: Rules | None = None
        self._read_at_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the rules once, then again and again. Raises what asyncpg raises."""
        await self._read()
        self._task = asyncio.create_task(self._refresh_for_ever(), name="rules")

    async def stop(self) -> None:
        """Stop refreshing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def current(self) -> Rules:
        """The rules. Raises PaycoreError DATABASE_UNAVAILABLE when they are too old to trust."""
        if self._rules is None or self._clock.monotonic_s() - self._read_at_s > STALE_AFTER_S:
            raise PaycoreError(
                Reason.DATABASE_UNAVAILABLE, "grants cannot be read", retry_after_ms=1_000
            )
        return self._rules

    async def _read(self) -> None:
        asked_s = self._clock.monotonic_s()
        async with self._pool.acquire() as connection:
            grants = await self._queries.all_grants(connection)
            policies = await self._queries.all_step_up_policies(connection)
        self._rules = Rules(
            Grants.of(
                Grant(
                    row["client"],
                    GrantAction(row["action"]),
                    GrantScope(row["scope"]),
                    row["institution"],
                )
                for row in grants
            ),
            {row["currency"]: row["threshold"] for row in policies},
        )
        self._read_at_s = asked_s

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            try:
                await self._read()
            except (*DISCONNECTED, asyncpg.PostgresError) as error:
                log.warning("rules not refreshed", error=type(error).__name__)
