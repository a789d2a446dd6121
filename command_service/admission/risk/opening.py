"""The judge that the settings ask for, with what it needs opened."""

from __future__ import annotations

from contextlib import AsyncExitStack

from command_service.admission.risk.figures import LedgerFigures
from command_service.admission.risk.judge import RiskJudge
from command_service.admission.risk.port import RiskAssessor
from command_service.admission.risk.remote import RemoteAssessor
from command_service.admission.risk.rule_table import RiskRuleTable
from command_service.admission.risk.rules import RulesAssessor
from command_service.settings import CommandSettings
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import Clock
from paycore.runtime.database import open_pool
from paycore.runtime.pools import PoolName
from paycore.runtime.tls import TlsFiles

CONNECTIONS = 2
"""Connections for the figures that rules judge by, apart from all others: a flood of questions
must not keep look-ups waiting."""


async def open_judge(
    settings: CommandSettings, application: str, clock: Clock, stack: AsyncExitStack
) -> RiskJudge | None:
    """None where nobody judges. What is opened is closed with `stack`."""
    assessor = await _open_assessor(settings, application, clock, stack)
    if assessor is None:
        return None
    return RiskJudge(
        assessor,
        clock,
        on_silence=settings.risk_on_silence,
        timeout_s=settings.risk_timeout_ms / 1_000,
        at_once=settings.risk_at_once,
    )


async def _open_assessor(
    settings: CommandSettings, application: str, clock: Clock, stack: AsyncExitStack
) -> RiskAssessor | None:
    if settings.risk == "rules":
        dsn = settings.postgres_dsn.get_secret_value()
        pool = await open_pool(dsn, size=CONNECTIONS, name=PoolName.RISK, application=application)
        stack.push_async_callback(pool.close)
        table = RiskRuleTable(pool, clock)
        await table.start()
        stack.push_async_callback(table.stop)
        return RulesAssessor(LedgerFigures(pool, clock), table.current, clock)
    if settings.risk_target is not None:
        channel = open_channel(settings.risk_target, TlsFiles.of(settings), service="risk")
        stack.push_async_callback(channel.close, None)
        return RemoteAssessor(channel, clock)
    return None
