"""The rules of risk as the table has them, kept fresh in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg

import database
from command_service.admission.risk.decisions import CurrencyRules
from paycore.domain.transfers import RiskDecision
from paycore.runtime.clock import Clock
from paycore.runtime.refreshed import Refreshed
from paycore.runtime.untold import in_background


class RiskRuleTable(Refreshed[Mapping[str, CurrencyRules]]):
    """The rules of now, by currency."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        super().__init__("rules of risk", clock)
        self._pool = pool
        self._queries: Any = database.load("risk")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the rules once, then again and again. Raises what asyncpg raises."""
        await self.load()
        self._task = in_background(self.run(), "risk-rules")

    async def stop(self) -> None:
        """Stop refreshing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> Mapping[str, CurrencyRules]:
        async with self._pool.acquire() as connection:
            rows = await self._queries.all_rules(connection)
        return {row["currency"]: currency_rules_of(row) for row in rows}


def currency_rules_of(row: Mapping[str, Any]) -> CurrencyRules:
    """The rules in a row of ledger.risk_rules."""
    return CurrencyRules(
        row["daily_limit"],
        RiskDecision(row["daily_decision"]),
        row["new_payee_above"],
        RiskDecision(row["new_payee_decision"]),
    )
