"""From the requests of rules of risk to their commands."""

from __future__ import annotations

from collections.abc import Callable

from command_service.admission.risk.decisions import CurrencyRules
from command_service.policy.commands import RemoveRiskRule, SetRiskRule
from command_service.servicers.fields import Fields
from command_service.servicers.policy_frame import PolicyFrame, check_amount, expected_revision
from paycore.domain.idempotency import command_hash
from paycore.domain.rules import Rules
from paycore.domain.transfers import RiskDecision
from paycore.v1 import policy_service_pb2 as pb2

NUMBERS = {
    RiskDecision.DECLINE: pb2.RISK_RULE_DECISION_DECLINE,
    RiskDecision.REVIEW: pb2.RISK_RULE_DECISION_REVIEW,
}
DECISIONS = {number: decision for decision, number in NUMBERS.items()}

UNUSED = RiskDecision.REVIEW
"""What the tables keep as the decision of a rule that there is not."""


class RiskRuleRequests:
    """Checks requests and translates them.

    Each method raises PaycoreError INVALID_FIELD with every bad field, and NOT_PERMITTED.
    """

    def __init__(self, rules: Callable[[], Rules], secret: bytes) -> None:
        """`secret` is the key of request hashes."""
        self._frame = PolicyFrame(rules)
        self._secret = secret

    def setting(self, request: pb2.SetRiskRuleRequest, client: str) -> SetRiskRule:
        """The rules of a currency to be set."""
        fields = Fields()
        actor = self._frame.actor(request, fields, client)
        wanted = request.rule
        fields.currency("rule.currency", wanted.currency)
        daily = new = None
        if wanted.HasField("daily_limit_minor_units"):
            daily = wanted.daily_limit_minor_units
            check_amount("rule.daily_limit_minor_units", daily, fields)
        if wanted.HasField("new_payee_above_minor_units"):
            new = wanted.new_payee_above_minor_units
            check_amount("rule.new_payee_above_minor_units", new, fields)
        if daily is None and new is None:
            fields.violate("rule", "a daily limit, or an amount for new payees")
        rules = CurrencyRules(
            daily,
            _decision("rule.daily_decision", wanted.daily_decision, daily, fields),
            new,
            _decision("rule.new_payee_decision", wanted.new_payee_decision, new, fields),
        )
        fields.check()
        return SetRiskRule(
            client,
            request.idempotency_key,
            command_hash(
                self._secret,
                "set_risk_rule/1",
                wanted.currency,
                "" if daily is None else daily,
                rules.daily_decision.value,
                "" if new is None else new,
                rules.new_payee_decision.value,
                request.reason,
            ),
            wanted.currency,
            rules,
            expected_revision(request),
            request.reason,
            actor,
        )

    def removal(self, request: pb2.RemoveRiskRuleRequest, client: str) -> RemoveRiskRule:
        """The rules of a currency to be removed."""
        fields = Fields()
        actor = self._frame.actor(request, fields, client)
        fields.currency("currency", request.currency)
        fields.check()
        return RemoveRiskRule(
            client,
            request.idempotency_key,
            command_hash(self._secret, "remove_risk_rule/1", request.currency, request.reason),
            request.currency,
            expected_revision(request),
            request.reason,
            actor,
        )


def _decision(
    field: str, number: pb2.RiskRuleDecision.ValueType, amount: int | None, fields: Fields
) -> RiskDecision:
    if amount is None:
        if number:
            fields.violate(field, "with its amount, and only then")
        return UNUSED
    decision = DECISIONS.get(number)
    if decision is None:
        fields.violate(field, "DECLINE or REVIEW")
    return decision or UNUSED
