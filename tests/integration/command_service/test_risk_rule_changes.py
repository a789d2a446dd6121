"""Rules of risk changed by an operator: in force within seconds, audited, and by nobody else."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.local import Endpoints
from paycore.runtime.refreshed import REFRESH_EVERY_S
from paycore.v1 import policy_service_pb2 as pb2
from tests.support.callers import TIMEOUT_S, Callers, payment, refusal_of
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase

WITHIN_S = REFRESH_EVERY_S + 60
"""Time to be in force, with some for a busy machine."""

DECLINE, REVIEW = pb2.RISK_RULE_DECISION_DECLINE, pb2.RISK_RULE_DECISION_REVIEW


@pytest.fixture
async def callers(
    endpoints: Endpoints, database: OwnDatabase, tmp_path: Path
) -> AsyncIterator[Callers]:
    async with (
        command_process(
            endpoints,
            tmp_path / "command.log",
            POSTGRES_DSN=database.dsn("command"),
            RISK="rules",
        ) as (target, _),
        Callers(endpoints, command_target=target) as callers,
    ):
        yield callers


async def call(callers: Callers, name: str, request: Any, identity: str = "operator") -> Any:
    return await getattr(callers.of(identity).policy, name)(request, timeout=TIMEOUT_S)


def setting(currency: str = "EUR", **changes: Any) -> pb2.SetRiskRuleRequest:
    frame = {
        name: changes.pop(name)
        for name in ("idempotency_key", "expected_revision", "reason")
        if name in changes
    }
    return pb2.SetRiskRuleRequest(
        **{"idempotency_key": secrets.token_hex(8), "reason": "agreed", **frame},
        rule=pb2.RiskRule(currency=currency, **changes),
    )


async def test_rules_are_set_hold_and_are_removed(
    callers: Callers, admin: asyncpg.Connection
) -> None:
    app = callers.of("app")
    _, payer, payee = await app.open(2, balance=10_000)

    async def told() -> str:
        refusal = await refusal_of(app.submit(payment(payer, payee, 10)))
        if refusal is None:
            return "POSTED"
        assert refusal.error is not None
        assert refusal.reason == "RISK_DECLINED"
        return str(refusal.error.metadata["rule"])

    async def soon(wanted: str) -> None:
        give_up_s = time.monotonic() + WITHIN_S
        while await told() != wanted:
            assert time.monotonic() < give_up_s
            await asyncio.sleep(0.2)

    assert await told() == "POSTED"
    wanted = setting(daily_limit_minor_units=0, daily_decision=DECLINE)
    done = await call(callers, "SetRiskRule", wanted)
    assert not done.rule.HasField("new_payee_above_minor_units")
    await soon("daily-limit")
    again = await call(callers, "SetRiskRule", wanted)
    assert (again.replayed, again.rule) == (True, done.rule)
    listed = await call(callers, "ListRiskRules", pb2.ListRiskRulesRequest())
    assert list(listed.rules) == [done.rule]

    stale = setting(
        daily_limit_minor_units=5,
        daily_decision=REVIEW,
        expected_revision=done.rule.revision - 1,
    )
    refusal = await refusal_of(call(callers, "SetRiskRule", stale))
    assert refusal is not None
    assert refusal.reason == "VERSION_MISMATCH"
    both = setting(
        daily_limit_minor_units=1_000_000,
        daily_decision=REVIEW,
        new_payee_above_minor_units=2**62,
        new_payee_decision=DECLINE,
        expected_revision=done.rule.revision,
    )
    changed = await call(callers, "SetRiskRule", both)
    assert changed.rule.revision > done.rule.revision
    await soon("POSTED")
    removal = pb2.RemoveRiskRuleRequest(
        idempotency_key="remove", currency="EUR", reason="no longer"
    )
    assert (await call(callers, "RemoveRiskRule", removal)).removed
    assert (await call(callers, "RemoveRiskRule", removal)).replayed
    assert not (await call(callers, "ListRiskRules", pb2.ListRiskRulesRequest())).rules

    rows = await admin.fetch(
        "SELECT action, client, reason, before, after FROM ledger.audit"
        " WHERE subject = 'risk_rule/EUR' ORDER BY id"
    )
    assert [tuple(row)[:3] for row in rows] == [
        ("ADD_RISK_RULE", "operator", "agreed"),
        ("CHANGE_RISK_RULE", "operator", "agreed"),
        ("REMOVE_RISK_RULE", "operator", "no longer"),
    ]
    before, after = (json.loads(rows[1][at]) for at in ("before", "after"))
    assert (before["daily_limit"], after["daily_limit"]) == (0, 1_000_000)


async def test_what_is_asked_wrongly_or_without_right_is_refused(
    callers: Callers, admin: asyncpg.Connection
) -> None:
    for request, fields in (
        (setting("XXY", reason=""), {"rule.currency", "rule", "reason"}),
        (
            setting(daily_limit_minor_units=-1, new_payee_above_minor_units=2**62 + 1),
            {
                "rule.daily_limit_minor_units",
                "rule.daily_decision",
                "rule.new_payee_above_minor_units",
                "rule.new_payee_decision",
            },
        ),
        (
            setting(daily_decision=DECLINE, new_payee_above_minor_units=1, new_payee_decision=9),
            {"rule.daily_decision", "rule.new_payee_decision"},
        ),
    ):
        refusal = await refusal_of(call(callers, "SetRiskRule", request))
        assert refusal is not None
        assert set(refusal.fields) == fields
    good = setting(daily_limit_minor_units=1, daily_decision=DECLINE)
    for identity in ("app", "loadtest", "analyst", "stranger"):
        for name, asked in (
            ("SetRiskRule", good),
            ("RemoveRiskRule", pb2.RemoveRiskRuleRequest()),
            ("ListRiskRules", pb2.ListRiskRulesRequest()),
        ):
            refusal = await refusal_of(call(callers, name, asked, identity))
            assert refusal is not None
            assert refusal.reason == "NOT_PERMITTED"
    assert await admin.fetchval("SELECT count(*) FROM ledger.risk_rules") == 0
