"""Right requests about limits and risk rules, none of which changes anything for the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paycore.v1 import policy_service_pb2 as policy
from tests.support.fuzzing.right.reading import CURRENCY
from tests.support.fuzzing.right.world import Right, World


def _place() -> policy.LimitPlace:
    return policy.LimitPlace(
        client="app",
        method="paycore.v1.TransferService/HoldFunds",
        name=policy.LIMIT_NAME_CLIENT,
    )


async def get_limit(world: World, client: str) -> Any:
    return policy.GetLimitRequest(place=_place())


async def list_limits(world: World, client: str) -> Any:
    return policy.ListLimitsRequest(page_size=world.rng.randint(1, 50))


async def set_limit(world: World, client: str) -> Any:
    rate = policy.RateLimit(per_s=100_000, burst=1_000_000 + world.rng.randrange(1_000))
    return policy.SetLimitRequest(
        idempotency_key=world.new("key"),
        limit=policy.Limit(place=_place(), rate=rate),
        reason="asked for",
    )


async def remove_limit(world: World, client: str) -> Any:
    return policy.RemoveLimitRequest(
        idempotency_key=world.new("key"), place=_place(), reason="asked for"
    )


async def list_risk_rules(world: World, client: str) -> Any:
    return policy.ListRiskRulesRequest()


async def set_risk_rule(world: World, client: str) -> Any:
    return policy.SetRiskRuleRequest(
        idempotency_key=world.new("key"),
        rule=policy.RiskRule(
            currency=CURRENCY,
            daily_limit_minor_units=world.rng.randrange(1_000),
            daily_decision=policy.RISK_RULE_DECISION_REVIEW,
        ),
        reason="asked for",
    )


async def remove_risk_rule(world: World, client: str) -> Any:
    return policy.RemoveRiskRuleRequest(
        idempotency_key=world.new("key"), currency=CURRENCY, reason="asked for"
    )


LIMITS: Mapping[str, Right] = {
    "PolicyService/GetLimit": Right(get_limit),
    "PolicyService/ListLimits": Right(list_limits),
    "PolicyService/SetLimit": Right(set_limit),
    "PolicyService/RemoveLimit": Right(remove_limit),
    "PolicyService/ListRiskRules": Right(list_risk_rules),
    "PolicyService/SetRiskRule": Right(set_risk_rule),
    "PolicyService/RemoveRiskRule": Right(remove_risk_rule),
}
