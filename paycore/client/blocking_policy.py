"""What operators set: policies, grants, limits, rules of risk. Methods of the blocking client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TypeVar

from paycore.client import limit_calls, policy_calls
from paycore.client.calls import Call
from paycore.client.core import Core
from paycore.client.policy_model import (
    Grant,
    LimitView,
    PolicyReceipt,
    RiskRule,
    StandingLimit,
    StepUpPolicy,
)
from paycore.domain.limits import Place, Setting

Answer = TypeVar("Answer")


class BlockingPolicy(ABC):
    """Part of `BlockingPaycoreClient`.

    `reason` is for the audit: 1 to 256 printable characters, no personal data. A change with
    `expected_revision` is made only where what it changes stands at it, 0 for none
    (VersionMismatchError otherwise).
    """

    _core: Core

    @abstractmethod
    def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    def list_step_up_policies(self) -> tuple[StepUpPolicy, ...]:
        """The policies of all currencies that have one."""
        return self._run(policy_calls.list_step_up_policies())

    def set_step_up_policy(
        self,
        policy: StepUpPolicy,
        reason: str,
        *,
        expected_revision: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyReceipt:
        """Set all of a currency's policy."""
        key = self._core.key(idempotency_key)
        return self._run(policy_calls.set_step_up_policy(policy, reason, expected_revision, key))

    def remove_step_up_policy(
        self,
        currency: str,
        reason: str,
        *,
        expected_revision: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyReceipt:
        """Have no policy for a currency: its payers must approve every payment."""
        key = self._core.key(idempotency_key)
        return self._run(
            policy_calls.remove_step_up_policy(currency, reason, expected_revision, key)
        )

    def list_grants(self, client: str = "") -> Iterator[Grant]:
        """What `client` may do, or all clients where it is empty."""
        token = ""
        while True:
            grants, token = self._run(policy_calls.list_grants(client, token))
            yield from grants
            if not token:
                return

    def give_grant(
        self, grant: Grant, reason: str, *, idempotency_key: str | None = None
    ) -> PolicyReceipt:
        """Let a client do something."""
        key = self._core.key(idempotency_key)
        return self._run(policy_calls.change_grant(grant, reason, key, given=True))

    def take_grant(
        self, grant: Grant, reason: str, *, idempotency_key: str | None = None
    ) -> PolicyReceipt:
        """Have a client do something no more."""
        key = self._core.key(idempotency_key)
        return self._run(policy_calls.change_grant(grant, reason, key, given=False))

    def get_limit(self, place: Place) -> LimitView:
        """The limit that is set in `place`, and the one that holds there."""
        return self._run(limit_calls.get_limit(place))

    def list_limits(self, client: str | None = None) -> Iterator[StandingLimit]:
        """All that is said of limits; of `client` where it is given, empty for every other."""
        token = ""
        while True:
            limits, token = self._run(limit_calls.list_limits(client, token))
            yield from limits
            if not token:
                return

    def set_limit(
        self,
        place: Place,
        setting: Setting,
        reason: str,
        *,
        expected_revision: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyReceipt:
        """Set a limit, over what file and defaults say of `place`; None for no such limit."""
        key = self._core.key(idempotency_key)
        return self._run(limit_calls.set_limit(place, setting, reason, expected_revision, key))

    def remove_limit(
        self,
        place: Place,
        reason: str,
        *,
        expected_revision: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyReceipt:
        """Have what file and defaults say of `place` again."""
        key = self._core.key(idempotency_key)
        return self._run(limit_calls.remove_limit(place, reason, expected_revision, key))

    def list_risk_rules(self) -> tuple[RiskRule, ...]:
        """The rules of risk of all currencies that have some."""
        return self._run(limit_calls.list_risk_rules())

    def set_risk_rule(
        self,
        rule: RiskRule,
        reason: str,
        *,
        expected_revision: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyReceipt:
        """Set all of a currency's rules of risk."""
        key = self._core.key(idempotency_key)
        return self._run(limit_calls.set_risk_rule(rule, reason, expected_revision, key))

    def remove_risk_rule(
        self,
        currency: str,
        reason: str,
        *,
        expected_revision: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyReceipt:
        """Have no rules of risk for a currency."""
        key = self._core.key(idempotency_key)
        return self._run(limit_calls.remove_risk_rule(currency, reason, expected_revision, key))
