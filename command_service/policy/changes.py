"""What each command of policy does to the tables."""

from __future__ import annotations

from typing import Any

import asyncpg

import database
from command_service.policy.commands import (
    ChangeGrant,
    PolicyChange,
    PolicyOutcome,
    RemoveLimit,
    RemovePolicy,
    RemoveRiskRule,
    SchemeGrant,
    SetLimit,
    SetPolicy,
    SetRiskRule,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import Grant
from paycore.domain.limits import Place, RateLimit, Setting, VelocityLimit


class PolicyChanges:
    """Makes changes, within a transaction in which no other is made."""

    def __init__(self) -> None:
        self._queries: Any = database.load("policy")

    async def make(self, connection: asyncpg.Connection, command: PolicyChange) -> PolicyOutcome:
        """Raises PaycoreError VERSION_MISMATCH."""
        queries = self._queries
        match command:
            case SetPolicy(currency=currency, policy=policy):
                await self._check_policy(connection, command)
                revision = await queries.set_policy(
                    connection,
                    currency=currency,
                    threshold=policy.threshold,
                    first_payment_threshold=policy.first_payment_threshold,
                    daily_total=policy.daily_total,
                )
                return PolicyOutcome(True, revision)
            case RemovePolicy(currency=currency):
                await self._check_policy(connection, command)
                removed = await queries.remove_policy(connection, currency=currency)
                return PolicyOutcome(removed is not None, 0)
            case ChangeGrant(grant=grant, given=given):
                return PolicyOutcome(await self._change_grant(connection, grant, given=given), 0)
            case SetLimit(place=place, setting=setting):
                await self._check_limit(connection, command)
                revision = await queries.set_limit(connection, **_named(place), **_columns(setting))
                return PolicyOutcome(True, revision)
            case RemoveLimit(place=place):
                await self._check_limit(connection, command)
                removed = await queries.remove_limit(connection, **_named(place))
                return PolicyOutcome(removed is not None, 0)
            case SetRiskRule(currency=currency, rules=rules):
                await self._check_risk_rule(connection, command)
                revision = await queries.set_risk_rule(
                    connection,
                    currency=currency,
                    daily_limit=rules.daily_limit,
                    daily_decision=rules.daily_decision.value,
                    new_payee_above=rules.new_payee_above,
                    new_payee_decision=rules.new_payee_decision.value,
                )
                return PolicyOutcome(True, revision)
            case RemoveRiskRule(currency=currency):
                await self._check_risk_rule(connection, command)
                removed = await queries.remove_risk_rule(connection, currency=currency)
                return PolicyOutcome(removed is not None, 0)

    async def _change_grant(
        self, connection: asyncpg.Connection, grant: Grant | SchemeGrant, *, given: bool
    ) -> bool:
        """Whether the client has it now and had it not before, or the other way round."""
        queries = self._queries
        if isinstance(grant, SchemeGrant):
            change = queries.give_scheme if given else queries.take_scheme
            return (await change(connection, client=grant.client, scheme=grant.scheme)) is not None
        change = queries.give_grant if given else queries.take_grant
        done = await change(
            connection,
            client=grant.client,
            action=grant.action.value,
            scope=grant.scope.value,
            institution=grant.institution,
        )
        return done is not None

    async def _check_policy(
        self, connection: asyncpg.Connection, command: SetPolicy | RemovePolicy
    ) -> None:
        if command.expected_revision is not None:
            row = await self._queries.find_policy(connection, currency=command.currency)
            _check_revision(
                f"the policy of {command.currency}",
                {"currency": command.currency},
                command.expected_revision,
                None if row is None else row["revision"],
            )

    async def _check_limit(
        self, connection: asyncpg.Connection, command: SetLimit | RemoveLimit
    ) -> None:
        if command.expected_revision is not None:
            place = command.place
            _check_revision(
                f"the limit by {place.limit.value}",
                {"client": place.client, "method": place.method, "limit": place.limit.value},
                command.expected_revision,
                await self._queries.limit_revision(connection, **_named(place)),
            )

    async def _check_risk_rule(
        self, connection: asyncpg.Connection, command: SetRiskRule | RemoveRiskRule
    ) -> None:
        if command.expected_revision is not None:
            _check_revision(
                f"the rules of risk of {command.currency}",
                {"currency": command.currency},
                command.expected_revision,
                await self._queries.risk_rule_revision(connection, currency=command.currency),
            )


def _check_revision(what: str, named: dict[str, str], expected: int, standing: int | None) -> None:
    actual = 0 if standing is None else standing
    if actual != expected:
        raise PaycoreError(
            Reason.VERSION_MISMATCH,
            f"{what} no longer stands at revision {expected}",
            {**named, "expected": str(expected), "actual": str(actual)},
        )


def _named(place: Place) -> dict[str, str]:
    return {"client": place.client, "method": place.method, "name": place.limit.value}


def _columns(setting: Setting) -> dict[str, object]:
    rate = setting if isinstance(setting, RateLimit) else None
    velocity = setting if isinstance(setting, VelocityLimit) else None
    return {
        "switched_off": setting is None,
        "per_s": None if rate is None else rate.per_s,
        "burst": None if rate is None else rate.burst,
        "window_s": None if velocity is None else velocity.window_s,
        "payees": None if velocity is None else velocity.payees,
        "identifiers": None if velocity is None else velocity.identifiers,
    }
