"""PolicyService: when payers must approve, and what clients may do."""

from __future__ import annotations

from command_service import anew
from command_service.policy.commands import SchemeGrant
from command_service.policy.ledger import GrantPlace, PolicyLedger, StandingPolicy
from command_service.policy.place_token import PlaceTokens
from command_service.posting.store import UnreachableError
from command_service.servicers.fields import MAX_NAME, Fields
from command_service.servicers.policy_frame import page_size
from command_service.servicers.policy_requests import PolicyRequests
from paycore.domain.grants import Grant
from paycore.runtime.server import Call
from paycore.v1 import policy_service_pb2 as pb2


class PolicyServicer:
    """Translates between messages and the policy ledger."""

    def __init__(self, policy: PolicyLedger, requests: PolicyRequests, secret: bytes) -> None:
        """`secret` is the key of page tokens."""
        self._policy = policy
        self._requests = requests
        self._tokens = PlaceTokens(secret, "grants")

    async def GetStepUpPolicy(  # noqa: N802  # named by the contract
        self, request: pb2.GetStepUpPolicyRequest, call: Call
    ) -> pb2.GetStepUpPolicyResponse:
        """Show the policy of one currency."""
        fields = Fields()
        fields.currency("currency", request.currency)
        fields.check()
        try:
            found = await self._policy.policy(request.currency)
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        return pb2.GetStepUpPolicyResponse(policy=None if found is None else _message(found))

    async def ListStepUpPolicies(  # noqa: N802  # named by the contract
        self, request: pb2.ListStepUpPoliciesRequest, call: Call
    ) -> pb2.ListStepUpPoliciesResponse:
        """Show the policies of all currencies."""
        try:
            found = await self._policy.policies()
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        return pb2.ListStepUpPoliciesResponse(policies=map(_message, found))

    async def SetStepUpPolicy(  # noqa: N802  # named by the contract
        self, request: pb2.SetStepUpPolicyRequest, call: Call
    ) -> pb2.SetStepUpPolicyResponse:
        """Set the policy of a currency."""
        command = self._requests.setting(request, call.client)
        outcome = await self._policy.change(command, call.deadline_s)
        standing = StandingPolicy(command.currency, command.policy, outcome.revision)
        return pb2.SetStepUpPolicyResponse(policy=_message(standing), replayed=outcome.replayed)

    async def RemoveStepUpPolicy(  # noqa: N802  # named by the contract
        self, request: pb2.RemoveStepUpPolicyRequest, call: Call
    ) -> pb2.RemoveStepUpPolicyResponse:
        """Have no policy for a currency any more."""
        command = self._requests.removal(request, call.client)
        outcome = await self._policy.change(command, call.deadline_s)
        return pb2.RemoveStepUpPolicyResponse(removed=outcome.changed, replayed=outcome.replayed)

    async def ListGrants(  # noqa: N802  # named by the contract
        self, request: pb2.ListGrantsRequest, call: Call
    ) -> pb2.ListGrantsResponse:
        """Show what clients may do."""
        fields = Fields()
        fields.text("client", request.client, MAX_NAME)
        size = page_size(request.page_size, fields)
        fields.check()
        after = GrantPlace(*self._tokens.open(request.page_token, call.client, request.client))
        try:
            found = await self._policy.grants(request.client, after, size + 1)
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        reply = pb2.ListGrantsResponse(grants=[_grant(grant) for _, grant in found[:size]])
        if len(found) > size:
            last = found[size - 1][0]
            reply.next_page_token = self._tokens.seal(last, call.client, request.client)
        return reply

    async def GiveGrant(  # noqa: N802  # named by the contract
        self, request: pb2.GiveGrantRequest, call: Call
    ) -> pb2.GiveGrantResponse:
        """Let a client do something."""
        command = self._requests.grant(request, call.client, given=True)
        outcome = await self._policy.change(command, call.deadline_s)
        return pb2.GiveGrantResponse(changed=outcome.changed, replayed=outcome.replayed)

    async def TakeGrant(  # noqa: N802  # named by the contract
        self, request: pb2.TakeGrantRequest, call: Call
    ) -> pb2.TakeGrantResponse:
        """Have a client do something no more."""
        command = self._requests.grant(request, call.client, given=False)
        outcome = await self._policy.change(command, call.deadline_s)
        return pb2.TakeGrantResponse(changed=outcome.changed, replayed=outcome.replayed)


def _message(standing: StandingPolicy) -> pb2.StepUpPolicy:
    policy = standing.policy
    return pb2.StepUpPolicy(
        currency=standing.currency,
        threshold_minor_units=policy.threshold,
        first_payment_threshold_minor_units=policy.first_payment_threshold,
        daily_total_minor_units=policy.daily_total,
        revision=standing.revision,
    )


def _grant(grant: Grant | SchemeGrant) -> pb2.Grant:
    if isinstance(grant, SchemeGrant):
        return pb2.Grant(client=grant.client, scheme=grant.scheme)
    return pb2.Grant(
        client=grant.client,
        accounts=pb2.AccountGrant(
            action=pb2.GrantAction.Value(f"GRANT_ACTION_{grant.action.value}"),
            scope=pb2.GrantScope.Value(f"GRANT_SCOPE_{grant.scope.value}"),
            institution=grant.institution,
        ),
    )
