"""Grants and step-up policies, kept fresh in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg

import database
from paycore.domain.rules import Rules
from paycore.domain.step_up_policy import StepUpPolicy
from paycore.runtime.clock import Clock
from paycore.runtime.refreshed import Refreshed, grants_of
from paycore.runtime.untold import in_background


class RulesCache(Refreshed[Rules]):
    """The rules of now."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        super().__init__("grants and policies", clock)
        self._pool = pool
        self._queries: Any = database.load("rules")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the rules once, then again and again. Raises what asyncpg raises."""
        await self.load()
        self._task = in_background(self.run(), "rules")

    async def stop(self) -> None:
        """Stop refreshing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> Rules:
        async with self._pool.acquire() as connection:
            grants = await self._queries.all_grants(connection)
            schemes = await self._queries.all_scheme_grants(connection)
            policies = await self._queries.all_step_up_policies(connection)
        return Rules(
            grants_of(grants),
            {row["currency"]: policy_of(row) for row in policies},
            frozenset((row["client"], row["scheme"]) for row in schemes),
        )


def policy_of(row: Mapping[str, Any]) -> StepUpPolicy:
    """The policy in a row of ledger.step_up_policies."""
    return StepUpPolicy(row["threshold"], row["first_payment_threshold"], row["daily_total"])
