"""Policy, grants, limits and rules of risk by the blocking client, on a fake channel."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import grpc_testing
import pytest

from paycore.client.blocking import BlockingPaycoreClient
from paycore.client.blocking_policy import BlockingPolicy
from paycore.client.policy import PolicyCalls
from paycore.client.policy_model import Grant, LimitView, RiskRule, StandingLimit, StepUpPolicy
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.limits import Limit, Place, RateLimit, Source, VelocityLimit
from paycore.domain.transfers import RiskDecision
from paycore.v1 import policy_service_pb2 as pb2

POLICY = pb2.DESCRIPTOR.services_by_name["PolicyService"]
DEVICE = Place("app", "", Limit.DEVICE)
STANDING = StandingLimit(DEVICE, RateLimit(0.5, 9), Source.DATABASE, 7)
SENT = pb2.Limit(
    place=pb2.LimitPlace(client="app", name=pb2.LIMIT_NAME_DEVICE),
    rate=pb2.RateLimit(per_s=0.5, burst=9),
    source=pb2.LIMIT_SOURCE_DATABASE,
    revision=7,
)
RULE = RiskRule("EUR", None, RiskDecision.REVIEW, 5, RiskDecision.DECLINE, 3)
SENT_RULE = pb2.RiskRule(
    currency="EUR",
    new_payee_above_minor_units=5,
    new_payee_decision=pb2.RISK_RULE_DECISION_DECLINE,
    revision=3,
)


@pytest.fixture
def channel() -> Any:
    return grpc_testing.channel([POLICY], grpc_testing.strict_real_time())


@pytest.fixture
def client(channel: Any) -> BlockingPaycoreClient:
    return BlockingPaycoreClient([channel])


@pytest.fixture
def run() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit


Run = Callable[[Callable[[], Any]], "Future[Any]"]


def answer(channel: Any, method: str, message: Any) -> Any:
    _, request, rpc = channel.take_unary_unary(POLICY.methods_by_name[method])
    rpc.send_initial_metadata(())
    rpc.terminate(message, (), grpc.StatusCode.OK, "")
    return request


def methods(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in vars(kind).items()
        if callable(method) and not name.startswith("_")
    }


def test_both_clients_have_the_same_methods() -> None:
    assert methods(BlockingPolicy) == methods(PolicyCalls)
    assert len(methods(BlockingPolicy)) == 13


def test_a_limit_is_set_looked_at_listed_and_removed(
    channel: Any, client: BlockingPaycoreClient, run: Run
) -> None:
    called = run(lambda: client.set_limit(DEVICE, RateLimit(0.5, 9), "r", expected_revision=0))
    request = answer(channel, "SetLimit", pb2.SetLimitResponse(limit=SENT))
    assert (request.limit.place, request.limit.rate) == (SENT.place, SENT.rate)
    assert (request.expected_revision, request.HasField("expected_revision")) == (0, True)
    receipt = called.result(5)
    assert (receipt.limit, receipt.idempotency_key) == (STANDING, request.idempotency_key)

    called = run(lambda: client.get_limit(DEVICE))
    answer(channel, "GetLimit", pb2.GetLimitResponse(in_force=SENT))
    assert called.result(5) == LimitView(None, STANDING)

    called = run(lambda: list(client.list_limits()))
    answer(channel, "ListLimits", pb2.ListLimitsResponse(limits=[SENT], next_page_token="t"))
    request = answer(channel, "ListLimits", pb2.ListLimitsResponse(limits=[SENT]))
    assert request.page_token == "t"
    assert called.result(5) == [STANDING, STANDING]

    called = run(lambda: client.remove_limit(DEVICE, "r"))
    request = answer(channel, "RemoveLimit", pb2.RemoveLimitResponse(removed=True))
    assert not request.HasField("expected_revision")
    assert called.result(5).changed


def test_velocity_and_no_limit_are_sent_as_such(
    channel: Any, client: BlockingPaycoreClient, run: Run
) -> None:
    place = Place("", "", Limit.VELOCITY)
    for setting, kind in ((VelocityLimit(60, 2, 1), "velocity"), (None, "off")):
        called = run(partial(client.set_limit, place, setting, "r"))
        request = answer(channel, "SetLimit", pb2.SetLimitResponse(limit=SENT))
        assert request.limit.WhichOneof("setting") == kind
        called.result(5)


def test_rules_of_risk_are_set_listed_and_removed(
    channel: Any, client: BlockingPaycoreClient, run: Run
) -> None:
    called = run(lambda: client.set_risk_rule(RULE, "r"))
    request = answer(channel, "SetRiskRule", pb2.SetRiskRuleResponse(rule=SENT_RULE))
    assert not request.rule.HasField("daily_limit_minor_units")
    assert request.rule.daily_decision == pb2.RISK_RULE_DECISION_UNSPECIFIED
    assert called.result(5).risk_rule == RULE
    called = run(client.list_risk_rules)
    answer(channel, "ListRiskRules", pb2.ListRiskRulesResponse(rules=[SENT_RULE]))
    assert called.result(5) == (RULE,)
    called = run(lambda: client.remove_risk_rule("EUR", "r"))
    answer(channel, "RemoveRiskRule", pb2.RemoveRiskRuleResponse(removed=False))
    assert not called.result(5).changed


def test_policies_and_grants(channel: Any, client: BlockingPaycoreClient, run: Run) -> None:
    eur = pb2.StepUpPolicy(currency="EUR", threshold_minor_units=5, revision=2)
    called = run(lambda: client.set_step_up_policy(StepUpPolicy("EUR", 5), "r"))
    answer(channel, "SetStepUpPolicy", pb2.SetStepUpPolicyResponse(policy=eur))
    assert called.result(5).policy == StepUpPolicy("EUR", 5, revision=2)
    called = run(client.list_step_up_policies)
    answer(channel, "ListStepUpPolicies", pb2.ListStepUpPoliciesResponse(policies=[eur]))
    assert [one.currency for one in called.result(5)] == ["EUR"]
    called = run(lambda: client.remove_step_up_policy("EUR", "r"))
    answer(channel, "RemoveStepUpPolicy", pb2.RemoveStepUpPolicyResponse(removed=True))
    assert called.result(5).changed
    grant = Grant("app", GrantAction.READ, GrantScope.OWN)
    called = run(lambda: client.give_grant(grant, "r"))
    given = answer(channel, "GiveGrant", pb2.GiveGrantResponse(changed=True)).grant
    assert called.result(5).changed
    called = run(lambda: list(client.list_grants("app")))
    answer(channel, "ListGrants", pb2.ListGrantsResponse(grants=[given]))
    assert called.result(5) == [grant]
    called = run(lambda: client.take_grant(grant, "r"))
    answer(channel, "TakeGrant", pb2.TakeGrantResponse(changed=False))
    assert not called.result(5).changed
