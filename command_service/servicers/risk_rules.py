"""PolicyService: by which rules of risk payments are judged."""

from __future__ import annotations

from command_service import anew
from command_service.policy.ledger import PolicyLedger, StandingRiskRule
from command_service.posting.store import UnreachableError
from command_service.servicers.risk_rule_requests import NUMBERS, RiskRuleRequests
from paycore.runtime.server import Call
from paycore.v1 import policy_service_pb2 as pb2


class RiskRuleServicer:
    """Translates between messages and the policy ledger."""

    def __init__(self, policy: PolicyLedger, requests: RiskRuleRequests) -> None:
        self._policy = policy
        self._requests = requests

    async def ListRiskRules(  # noqa: N802  # named by the contract
        self, request: pb2.ListRiskRulesRequest, call: Call
    ) -> pb2.ListRiskRulesResponse:
        """Show the rules of all currencies."""
        try:
            found = await self._policy.risk_rules()
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        return pb2.ListRiskRulesResponse(rules=map(_message, found))

    async def SetRiskRule(  # noqa: N802  # named by the contract
        self, request: pb2.SetRiskRuleRequest, call: Call
    ) -> pb2.SetRiskRuleResponse:
        """Set the rules of a currency."""
        command = self._requests.setting(request, call.client)
        outcome = await self._policy.change(command, call.deadline_s)
        standing = StandingRiskRule(command.currency, command.rules, outcome.revision)
        return pb2.SetRiskRuleResponse(rule=_message(standing), replayed=outcome.replayed)

    async def RemoveRiskRule(  # noqa: N802  # named by the contract
        self, request: pb2.RemoveRiskRuleRequest, call: Call
    ) -> pb2.RemoveRiskRuleResponse:
        """Have no rules for a currency any more."""
        command = self._requests.removal(request, call.client)
        outcome = await self._policy.change(command, call.deadline_s)
        return pb2.RemoveRiskRuleResponse(removed=outcome.changed, replayed=outcome.replayed)


def _message(standing: StandingRiskRule) -> pb2.RiskRule:
    rules = standing.rules
    message = pb2.RiskRule(currency=standing.currency, revision=standing.revision)
    if rules.daily_limit is not None:
        message.daily_limit_minor_units = rules.daily_limit
        message.daily_decision = NUMBERS[rules.daily_decision]
    if rules.new_payee_above is not None:
        message.new_payee_above_minor_units = rules.new_payee_above
        message.new_payee_decision = NUMBERS[rules.new_payee_decision]
    return message
