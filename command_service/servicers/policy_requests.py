"""From the requests of policy to its commands."""

from __future__ import annotations

from collections.abc import Callable

from command_service.policy.commands import ChangeGrant, RemovePolicy, SchemeGrant, SetPolicy
from command_service.servicers.fields import MAX_INSTITUTION, MAX_NAME, Fields
from command_service.servicers.policy_frame import PolicyFrame, check_amount, expected_revision
from paycore.domain.grants import CONCERNS_NO_ACCOUNT, Grant, GrantAction, GrantScope
from paycore.domain.idempotency import command_hash
from paycore.domain.identifiers import MAX_SCHEME, is_scheme
from paycore.domain.rules import Rules
from paycore.domain.step_up_policy import StepUpPolicy
from paycore.v1 import policy_service_pb2 as pb2

ACTIONS = {pb2.GrantAction.Value(f"GRANT_ACTION_{one.value}"): one for one in GrantAction}
SCOPES = {pb2.GrantScope.Value(f"GRANT_SCOPE_{one.value}"): one for one in GrantScope}

GrantRequest = pb2.GiveGrantRequest | pb2.TakeGrantRequest


class PolicyRequests:
    """Checks requests and translates them.

    Each method raises PaycoreError INVALID_FIELD with every bad field, and NOT_PERMITTED.
    """

    def __init__(self, rules: Callable[[], Rules], secret: bytes) -> None:
        """`secret` is the key of request hashes."""
        self._frame = PolicyFrame(rules)
        self._secret = secret

    def setting(self, request: pb2.SetStepUpPolicyRequest, client: str) -> SetPolicy:
        """A policy to be set."""
        fields = Fields()
        wanted = request.policy
        actor = self._frame.actor(request, fields, client)
        fields.currency("policy.currency", wanted.currency)
        threshold = wanted.threshold_minor_units
        check_amount("policy.threshold_minor_units", threshold, fields)
        first = total = None
        if wanted.HasField("first_payment_threshold_minor_units"):
            first = wanted.first_payment_threshold_minor_units
            check_amount("policy.first_payment_threshold_minor_units", first, fields)
            if first > threshold:
                fields.violate(
                    "policy.first_payment_threshold_minor_units", "at most the threshold"
                )
        if wanted.HasField("daily_total_minor_units"):
            total = wanted.daily_total_minor_units
            check_amount("policy.daily_total_minor_units", total, fields)
        fields.check()
        return SetPolicy(
            client,
            request.idempotency_key,
            command_hash(
                self._secret,
                "set_step_up_policy/1",
                wanted.currency,
                threshold,
                "" if first is None else first,
                "" if total is None else total,
                request.reason,
            ),
            wanted.currency,
            StepUpPolicy(threshold, first, total),
            expected_revision(request),
            request.reason,
            actor,
        )

    def removal(self, request: pb2.RemoveStepUpPolicyRequest, client: str) -> RemovePolicy:
        """A policy to be removed."""
        fields = Fields()
        actor = self._frame.actor(request, fields, client)
        fields.currency("currency", request.currency)
        fields.check()
        return RemovePolicy(
            client,
            request.idempotency_key,
            command_hash(self._secret, "remove_step_up_policy/1", request.currency, request.reason),
            request.currency,
            expected_revision(request),
            request.reason,
            actor,
        )

    def grant(self, request: GrantRequest, client: str, *, given: bool) -> ChangeGrant:
        """A grant to be given or taken."""
        fields = Fields()
        actor = self._frame.actor(request, fields, client)
        grant = _grant(request.grant, fields)
        if given and isinstance(grant, Grant):
            _check_scope(grant, fields)
        fields.check()
        right = (
            ("scheme", grant.scheme)
            if isinstance(grant, SchemeGrant)
            else (grant.action, grant.scope, grant.institution)
        )
        return ChangeGrant(
            client,
            request.idempotency_key,
            command_hash(
                self._secret,
                "give_grant/1" if given else "take_grant/1",
                grant.client,
                *right,
                request.reason,
            ),
            grant,
            given,
            request.reason,
            actor,
        )


def _check_scope(grant: Grant, fields: Fields) -> None:
    # One that stands in the table with another scope does nothing, and may be taken.
    if grant.action in CONCERNS_NO_ACCOUNT and grant.scope is not GrantScope.ALL:
        fields.violate("grant.accounts.scope", f"ALL: {grant.action} concerns no account")


def _grant(message: pb2.Grant, fields: Fields) -> Grant | SchemeGrant:
    fields.text("grant.client", message.client, MAX_NAME, required=True)
    if message.HasField("scheme"):
        if not is_scheme(message.scheme):
            fields.violate("grant.scheme", f"1 to {MAX_SCHEME} characters of a-z, 0-9, _ and -")
        return SchemeGrant(message.client, message.scheme)
    right = message.accounts
    if not message.HasField("accounts"):
        fields.violate("grant.right", "accounts or a scheme")
    action, scope = ACTIONS.get(right.action), SCOPES.get(right.scope)
    if action is None:
        fields.violate("grant.accounts.action", f"one of {', '.join(GrantAction)}")
    if scope is None:
        fields.violate("grant.accounts.scope", f"one of {', '.join(GrantScope)}")
    fields.text("grant.accounts.institution", right.institution, MAX_INSTITUTION)
    if bool(right.institution) is not (scope is GrantScope.INSTITUTION):
        fields.violate("grant.accounts.institution", "with scope INSTITUTION, and only then")
    return Grant(
        message.client,
        action or GrantAction.READ,
        scope or GrantScope.OWN,
        right.institution,
    )
