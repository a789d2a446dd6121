"""The calls about limits and rules of risk, as both clients make them."""

from __future__ import annotations

from functools import partial

from paycore.client import rpcs
from paycore.client.calls import Call
from paycore.client.policy_calls import PAGE, removal
from paycore.client.policy_model import LimitView, PolicyReceipt, RiskRule, StandingLimit
from paycore.domain.limits import Limit, Place, RateLimit, Setting, Source, VelocityLimit
from paycore.domain.transfers import RiskDecision
from paycore.v1 import policy_service_pb2 as pb2

_SETTINGS = {"rate", "velocity", "off"}


def get_limit(place: Place) -> Call[LimitView]:
    return Call(
        rpcs.GET_LIMIT,
        pb2.GetLimitRequest(place=_place(place)),
        lambda reply: LimitView(
            _limit(reply.limit) if reply.HasField("limit") else None,
            _limit(reply.in_force) if reply.HasField("in_force") else None,
        ),
    )


def list_limits(client: str | None, page_token: str) -> Call[tuple[list[StandingLimit], str]]:
    """One page, and the token of the next. What this release does not know is left out."""
    return Call(
        rpcs.LIST_LIMITS,
        pb2.ListLimitsRequest(client=client, page_size=PAGE, page_token=page_token),
        lambda reply: (
            [_limit(one) for one in reply.limits if _is_known(one)],
            reply.next_page_token,
        ),
    )


def set_limit(
    place: Place, setting: Setting, reason: str, expected_revision: int | None, key: str
) -> Call[PolicyReceipt]:
    limit = pb2.Limit(place=_place(place))
    match setting:
        case RateLimit(per_s=per_s, burst=burst):
            limit.rate.CopyFrom(pb2.RateLimit(per_s=per_s, burst=burst))
        case VelocityLimit() as velocity:
            limit.velocity.CopyFrom(pb2.VelocityLimit(**velocity._asdict()))
        case None:
            limit.off.SetInParent()
    request = pb2.SetLimitRequest(
        idempotency_key=key, limit=limit, expected_revision=expected_revision, reason=reason
    )
    return Call(
        rpcs.SET_LIMIT,
        request,
        lambda reply: PolicyReceipt(True, key, reply.replayed, limit=_limit(reply.limit)),
        idempotency_key=key,
    )


def remove_limit(
    place: Place, reason: str, expected_revision: int | None, key: str
) -> Call[PolicyReceipt]:
    request = pb2.RemoveLimitRequest(
        idempotency_key=key,
        place=_place(place),
        expected_revision=expected_revision,
        reason=reason,
    )
    return Call(rpcs.REMOVE_LIMIT, request, partial(removal, key), idempotency_key=key)


def list_risk_rules() -> Call[tuple[RiskRule, ...]]:
    return Call(
        rpcs.LIST_RISK_RULES,
        pb2.ListRiskRulesRequest(),
        lambda reply: tuple(map(_risk_rule, reply.rules)),
    )


def set_risk_rule(
    rule: RiskRule, reason: str, expected_revision: int | None, key: str
) -> Call[PolicyReceipt]:
    wanted = pb2.RiskRule(
        currency=rule.currency,
        daily_limit_minor_units=rule.daily_limit,
        new_payee_above_minor_units=rule.new_payee_above,
    )
    if rule.daily_limit is not None:
        wanted.daily_decision = _decision(rule.daily_decision)
    if rule.new_payee_above is not None:
        wanted.new_payee_decision = _decision(rule.new_payee_decision)
    request = pb2.SetRiskRuleRequest(
        idempotency_key=key, rule=wanted, expected_revision=expected_revision, reason=reason
    )
    return Call(
        rpcs.SET_RISK_RULE,
        request,
        lambda reply: PolicyReceipt(True, key, reply.replayed, risk_rule=_risk_rule(reply.rule)),
        idempotency_key=key,
    )


def remove_risk_rule(
    currency: str, reason: str, expected_revision: int | None, key: str
) -> Call[PolicyReceipt]:
    request = pb2.RemoveRiskRuleRequest(
        idempotency_key=key,
        currency=currency,
        expected_revision=expected_revision,
        reason=reason,
    )
    return Call(rpcs.REMOVE_RISK_RULE, request, partial(removal, key), idempotency_key=key)


def _place(place: Place) -> pb2.LimitPlace:
    return pb2.LimitPlace(
        client=place.client,
        method=place.method,
        name=pb2.LimitName.Value(f"LIMIT_NAME_{place.limit.name}"),
    )


def _is_known(message: pb2.Limit) -> bool:
    return (
        message.place.name in pb2.LimitName.values()
        and message.source in pb2.LimitSource.values()
        and message.WhichOneof("setting") in _SETTINGS
    )


def _limit(message: pb2.Limit) -> StandingLimit:
    place, setting = message.place, message.WhichOneof("setting")
    said: Setting = None
    if setting == "rate":
        said = RateLimit(message.rate.per_s, message.rate.burst)
    elif setting == "velocity":
        velocity = message.velocity
        said = VelocityLimit(velocity.window_s, velocity.payees, velocity.identifiers)
    name = pb2.LimitName.Name(place.name).removeprefix("LIMIT_NAME_")
    source = pb2.LimitSource.Name(message.source).removeprefix("LIMIT_SOURCE_")
    return StandingLimit(
        Place(place.client, place.method, Limit[name]), said, Source(source), message.revision
    )


def _risk_rule(message: pb2.RiskRule) -> RiskRule:
    has_daily = message.HasField("daily_limit_minor_units")
    has_new = message.HasField("new_payee_above_minor_units")
    return RiskRule(
        message.currency,
        message.daily_limit_minor_units if has_daily else None,
        _decided(message.daily_decision) if has_daily else RiskDecision.REVIEW,
        message.new_payee_above_minor_units if has_new else None,
        _decided(message.new_payee_decision) if has_new else RiskDecision.REVIEW,
        message.revision,
    )


def _decision(decision: RiskDecision) -> pb2.RiskRuleDecision.ValueType:
    """Raises ValueError for APPROVE, which no rule decides."""
    return pb2.RiskRuleDecision.Value(f"RISK_RULE_DECISION_{decision.value}")


def _decided(number: pb2.RiskRuleDecision.ValueType) -> RiskDecision:
    return RiskDecision(pb2.RiskRuleDecision.Name(number).removeprefix("RISK_RULE_DECISION_"))
