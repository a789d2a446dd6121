"""The rules of risk on a database of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from command_service.admission.risk.figures import LedgerFigures
from command_service.admission.risk.rule_table import RiskRuleTable
from command_service.admission.risk.rules import RulesAssessor
from paycore.runtime.clock import Clock
from tests.support.command_core import CommandCore

SetRules = Callable[..., Awaitable[None]]


async def write_rules(admin: asyncpg.Connection, currency: str = "EUR", **rules: Any) -> None:
    """Set the rules of `currency` to `rules`, by column."""
    await admin.execute("DELETE FROM ledger.risk_rules WHERE currency = $1", currency)
    columns = ", ".join(rules)
    places = ", ".join(f"${at}" for at in range(2, len(rules) + 2))
    await admin.execute(
        f"INSERT INTO ledger.risk_rules (currency, {columns}) VALUES ($1, {places})",
        currency,
        *rules.values(),
    )


@pytest.fixture
async def table(core: CommandCore) -> AsyncIterator[RiskRuleTable]:
    table = RiskRuleTable(core.pool, core.clock)
    await table.start()
    yield table
    await table.stop()


@pytest.fixture
def set_rules(admin: asyncpg.Connection, table: RiskRuleTable) -> SetRules:
    """Sets rules that hold at once."""

    async def set_rules(**rules: Any) -> None:
        await write_rules(admin, **rules)
        await table.load()

    return set_rules


def rules_assessor(pool: asyncpg.Pool, table: RiskRuleTable, clock: Clock) -> RulesAssessor:
    """Judges by what `table` has, as `clock` goes."""
    return RulesAssessor(LedgerFigures(pool, clock), table.current, clock)


@pytest.fixture
def assessor(core: CommandCore, table: RiskRuleTable) -> RulesAssessor:
    return rules_assessor(core.pool, table, core.clock)
