"""The calls about policies and grants, as both clients make them."""

from __future__ import annotations

from functools import partial
from typing import Any

from paycore.client import rpcs
from paycore.client.calls import Call
from paycore.client.policy_model import Grant, PolicyReceipt, StepUpPolicy
from paycore.domain.grants import GrantAction, GrantScope
from paycore.v1 import policy_service_pb2 as pb2

PAGE = 500
"""How many of a list are asked for at once."""


def list_step_up_policies() -> Call[tuple[StepUpPolicy, ...]]:
    return Call(
        rpcs.LIST_STEP_UP_POLICIES,
        pb2.ListStepUpPoliciesRequest(),
        lambda reply: tuple(map(_policy, reply.policies)),
    )


def set_step_up_policy(
    policy: StepUpPolicy, reason: str, expected_revision: int | None, key: str
) -> Call[PolicyReceipt]:
    request = pb2.SetStepUpPolicyRequest(
        idempotency_key=key,
        policy=pb2.StepUpPolicy(
            currency=policy.currency,
            threshold_minor_units=policy.threshold,
            first_payment_threshold_minor_units=policy.first_payment_threshold,
            daily_total_minor_units=policy.daily_total,
        ),
        expected_revision=expected_revision,
        reason=reason,
    )
    return Call(
        rpcs.SET_STEP_UP_POLICY,
        request,
        lambda reply: PolicyReceipt(True, key, reply.replayed, _policy(reply.policy)),
        idempotency_key=key,
    )


def remove_step_up_policy(
    currency: str, reason: str, expected_revision: int | None, key: str
) -> Call[PolicyReceipt]:
    request = pb2.RemoveStepUpPolicyRequest(
        idempotency_key=key,
        currency=currency,
        expected_revision=expected_revision,
        reason=reason,
    )
    return Call(rpcs.REMOVE_STEP_UP_POLICY, request, partial(removal, key), idempotency_key=key)


def list_grants(client: str, page_token: str) -> Call[tuple[list[Grant], str]]:
    """One page, and the token of the next."""
    return Call(
        rpcs.LIST_GRANTS,
        pb2.ListGrantsRequest(client=client, page_size=PAGE, page_token=page_token),
        lambda reply: ([_grant(one) for one in reply.grants], reply.next_page_token),
    )


def change_grant(grant: Grant, reason: str, key: str, *, given: bool) -> Call[PolicyReceipt]:
    """Raises ValueError for a grant of neither accounts nor a scheme."""
    kind = pb2.GiveGrantRequest if given else pb2.TakeGrantRequest
    return Call(
        rpcs.GIVE_GRANT if given else rpcs.TAKE_GRANT,
        kind(idempotency_key=key, grant=_sent(grant), reason=reason),
        lambda reply: PolicyReceipt(reply.changed, key, reply.replayed),
        idempotency_key=key,
    )


def removal(key: str, reply: Any) -> PolicyReceipt:
    """What came of having something no more."""
    return PolicyReceipt(reply.removed, key, reply.replayed)


def _policy(message: pb2.StepUpPolicy) -> StepUpPolicy:
    has_first = message.HasField("first_payment_threshold_minor_units")
    return StepUpPolicy(
        message.currency,
        message.threshold_minor_units,
        message.first_payment_threshold_minor_units if has_first else None,
        message.daily_total_minor_units if message.HasField("daily_total_minor_units") else None,
        message.revision,
    )


def _grant(message: pb2.Grant) -> Grant:
    if message.HasField("scheme"):
        return Grant(message.client, scheme=message.scheme)
    right = message.accounts
    return Grant(
        message.client,
        GrantAction(pb2.GrantAction.Name(right.action).removeprefix("GRANT_ACTION_")),
        GrantScope(pb2.GrantScope.Name(right.scope).removeprefix("GRANT_SCOPE_")),
        right.institution,
    )


def _sent(grant: Grant) -> pb2.Grant:
    if grant.scheme:
        return pb2.Grant(client=grant.client, scheme=grant.scheme)
    if grant.action is None or grant.scope is None:
        raise ValueError("a grant has an action and a scope, or a scheme")
    return pb2.Grant(
        client=grant.client,
        accounts=pb2.AccountGrant(
            action=pb2.GrantAction.Value(f"GRANT_ACTION_{grant.action.value}"),
            scope=pb2.GrantScope.Value(f"GRANT_SCOPE_{grant.scope.value}"),
            institution=grant.institution,
        ),
    )
