"""Policy: when payers must approve, and what clients may do. Methods for operators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from paycore.client import rpcs
from paycore.client.calls import Call
from paycore.client.core import Core
from paycore.domain.grants import GrantAction, GrantScope
from paycore.v1 import policy_service_pb2 as pb2

Answer = TypeVar("Answer")
PAGE = 500


@dataclass(frozen=True, slots=True)
class StepUpPolicy:
    """Amounts in minor units of `currency`, above each of which a payer must approve.

    None stands for a rule that the currency does not have; `revision` is set by the service.
    """

    currency: str
    threshold: int
    first_payment_threshold: int | None = None
    daily_total: int | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What `client` may do with which accounts; or whose identifiers it may link, by `scheme`.

    Action and scope are of a grant on accounts, and the institution of one with scope INSTITUTION.
    """

    client: str
    action: GrantAction | None = None
    scope: GrantScope | None = None
    institution: str = ""
    scheme: str = ""


@dataclass(frozen=True, slots=True)
class PolicyReceipt:
    """Whether anything is other than before, now or (replayed) when the key was first used."""

    changed: bool
    idempotency_key: str
    replayed: bool
    policy: StepUpPolicy | None = None
    """As it was set."""


class PolicyCalls(ABC):
    """Part of `PaycoreClient`."""

    _core: Core

    @abstractmethod
    async def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    async def list_step_up_policies(self) -> tuple[StepUpPolicy, ...]:
        """The policies of all currencies that have one."""
        return await self._run(
            Call(
                rpcs.LIST_STEP_UP_POLICIES,
                pb2.ListStepUpPoliciesRequest(),
                lambda reply: tuple(map(_policy, reply.policies)),
            )
        )

    async def set_step_up_policy(
        self,
        policy: StepUpPolicy,
        reason: str,
        *,
        expected_revision: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyReceipt:
        """Set all of a currency's policy; `expected_revision` is 0 where there must be none."""
        key = self._core.key(idempotency_key)
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
        return await self._run(
            Call(
                rpcs.SET_STEP_UP_POLICY,
                request,
                lambda reply: PolicyReceipt(True, key, reply.replayed, _policy(reply.policy)),
                idempotency_key=key,
            )
        )

    async def remove_step_up_policy(
        self,
        currency: str,
        reason: str,
        *,
        expected_revision: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyReceipt:
        """Have no policy for a currency: its payers must approve every payment."""
        key = self._core.key(idempotency_key)
        request = pb2.RemoveStepUpPolicyRequest(
            idempotency_key=key,
            currency=currency,
            expected_revision=expected_revision,
            reason=reason,
        )
        return await self._run(
            Call(
                rpcs.REMOVE_STEP_UP_POLICY,
                request,
                lambda reply: PolicyReceipt(reply.removed, key, reply.replayed),
                idempotency_key=key,
            )
        )

    async def list_grants(self, client: str = "") -> AsyncIterator[Grant]:
        """What `client` may do, or all clients where it is empty."""
        token = ""
        while True:
            request = pb2.ListGrantsRequest(client=client, page_size=PAGE, page_token=token)
            reply = await self._run(Call(rpcs.LIST_GRANTS, request, _as_it_is))
            for grant in reply.grants:
                yield _grant(grant)
            token = reply.next_page_token
            if not token:
                return

    async def give_grant(
        self, grant: Grant, reason: str, *, idempotency_key: str | None = None
    ) -> PolicyReceipt:
        """Let a client do something."""
        key = self._core.key(idempotency_key)
        request = pb2.GiveGrantRequest(idempotency_key=key, grant=_sent(grant), reason=reason)
        return await self._run(
            Call(rpcs.GIVE_GRANT, request, partial(_receipt, key), idempotency_key=key)
        )

    async def take_grant(
        self, grant: Grant, reason: str, *, idempotency_key: str | None = None
    ) -> PolicyReceipt:
        """Have a client do something no more."""
        key = self._core.key(idempotency_key)
        request = pb2.TakeGrantRequest(idempotency_key=key, grant=_sent(grant), reason=reason)
        return await self._run(
            Call(rpcs.TAKE_GRANT, request, partial(_receipt, key), idempotency_key=key)
        )


def _as_it_is(reply: pb2.ListGrantsResponse) -> pb2.ListGrantsResponse:
    return reply


def _receipt(key: str, reply: Any) -> PolicyReceipt:
    return PolicyReceipt(reply.changed, key, reply.replayed)


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
    """Raises ValueError for a grant of neither accounts nor a scheme."""
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
