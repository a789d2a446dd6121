"""Policy in PostgreSQL: changed one command at a time, audited by the tables."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import asyncpg

import database
from command_service.accounts.acting import Acting, Actors, act_as
from command_service.accounts.turns import AccountTurns
from command_service.admission.limits import limits_of
from command_service.admission.risk.decisions import CurrencyRules
from command_service.admission.risk.rule_table import currency_rules_of
from command_service.admission.rules import policy_of
from command_service.policy.changes import PolicyChanges
from command_service.policy.commands import PolicyChange, PolicyOutcome, SchemeGrant
from command_service.transactions import Transactions, reading
from paycore.domain.errors import key_reused
from paycore.domain.grants import Grant, GrantAction, GrantScope
from paycore.domain.limits import Place
from paycore.domain.step_up_policy import StepUpPolicy
from paycore.runtime.clock import Clock
from paycore.runtime.limits.table import Said
from paycore.runtime.snowflake import IdSource

OUTCOME = "POLICY"
"""The kind of outcome under which the keys of changes are stored."""

_SCHEME = "SCHEME"
_ACTIONS = frozenset(action.value for action in GrantAction)


class StandingPolicy(NamedTuple):
    """The policy of a currency as it stands."""

    currency: str
    policy: StepUpPolicy
    revision: int


class StandingRiskRule(NamedTuple):
    """The rules of risk of a currency as they stand."""

    currency: str
    rules: CurrencyRules
    revision: int


class GrantPlace(NamedTuple):
    """A grant's place in the list of all."""

    client: str = ""
    kind: str = ""
    what: str = ""
    scope: str = ""
    institution: str = ""


class PolicyLedger:
    """Reads and changes policy."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        transactions: Transactions,
        ids: IdSource,
        clock: Clock,
        actors: Actors,
        changed: Callable[[], Awaitable[object]],
    ) -> None:
        """`changed` is awaited after each change, so that it holds in this process at once."""
        self._pool = pool
        self._transactions = transactions
        self._ids = ids
        self._clock = clock
        self._actors = actors
        self._changed = changed
        self._turns = AccountTurns(clock)
        self._changes = PolicyChanges()
        self._queries: Any = database.load("policy")
        self._rules: Any = database.load("rules")
        self._keys: Any = database.load("accounts")

    async def policies(self) -> list[StandingPolicy]:
        """All, in the order of their currencies. Raises UnreachableError."""
        async with reading(self._pool) as connection:
            found = await self._queries.all_policies(connection)
        return [_standing(row) for row in found]

    async def policy(self, currency: str) -> StandingPolicy | None:
        """The one of `currency`, if it has one. Raises UnreachableError."""
        async with reading(self._pool) as connection:
            row = await self._queries.find_policy(connection, currency=currency)
        return None if row is None else _standing(row)

    async def grants(
        self, client: str, after: GrantPlace, most: int
    ) -> list[tuple[GrantPlace, Grant | SchemeGrant]]:
        """The next `most` after that place; of `client`, or of all where it is empty.

        Raises UnreachableError.
        """
        async with reading(self._pool) as connection:
            found = await self._queries.list_grants(
                connection,
                client=client,
                after_client=after.client,
                after_kind=after.kind,
                after_what=after.what,
                after_scope=after.scope,
                after_institution=after.institution,
                most=most,
            )
        places = [GrantPlace(*row) for row in found]
        return [(place, _grant(place)) for place in places if _is_known(place)]

    async def limits(self) -> dict[Place, Said]:
        """All that are set. Raises UnreachableError."""
        async with reading(self._pool) as connection:
            return limits_of(await self._rules.all_limits(connection))

    async def risk_rules(self) -> list[StandingRiskRule]:
        """All, in the order of their currencies. Raises UnreachableError."""
        async with reading(self._pool) as connection:
            found = await self._queries.all_risk_rules(connection)
        return [
            StandingRiskRule(row["currency"], currency_rules_of(row), row["revision"])
            for row in found
        ]

    async def change(self, command: PolicyChange, deadline_s: float) -> PolicyOutcome:
        """Change policy; the tables write who did it to the audit.

        Raises PaycoreError: VERSION_MISMATCH, IDEMPOTENCY_KEY_REUSED, CONTENTION,
        DATABASE_UNAVAILABLE, OVERLOADED, DEADLINE_EXCEEDED; nothing is written after the monotonic
        time `deadline_s`.
        """
        acting = await self._actors.of(command.client, command.actor)

        async def attempt() -> PolicyOutcome:
            journal_id, audit_id = await self._ids.take(2)

            async def work(connection: asyncpg.Connection) -> tuple[PolicyOutcome, int | None]:
                done = await self._change(connection, command, acting, journal_id, audit_id)
                self._turns.check_time(deadline_s)
                return done

            outcome, _ = await self._transactions.run(journal_id, work)
            return outcome

        outcome = await self._turns.run(command.client, attempt, deadline_s)
        await self._changed()
        return outcome

    async def _change(
        self,
        connection: asyncpg.Connection,
        command: PolicyChange,
        acting: Acting,
        journal_id: int,
        audit_id: int,
    ) -> tuple[PolicyOutcome, int | None]:
        await self._queries.take_turn(connection)
        for row in await self._keys.find_keys(
            connection, clients=[command.client], keys=[command.key]
        ):
            if row["outcome"] != OUTCOME or row["request_hash"] != command.request_hash:
                raise key_reused(command.key)
            figures = json.loads(row["figures"])
            return PolicyOutcome(figures["changed"], figures["revision"], replayed=True), None
        await act_as(self._keys, connection, acting, reason=command.reason, audit_id=audit_id)
        outcome = await self._changes.make(connection, command)
        await self._keys.write_keys(
            connection,
            clients=[command.client],
            keys=[command.key],
            outcome=OUTCOME,
            outcome_ids=[journal_id],
            hashes=[command.request_hash],
            figures=[json.dumps({"changed": outcome.changed, "revision": outcome.revision})],
            journal_id=journal_id,
        )
        xid: int = await self._keys.write_journal(
            connection, id=journal_id, created_us=self._clock.now_us(), accounts=[]
        )
        return outcome, xid


def _standing(row: Any) -> StandingPolicy:
    return StandingPolicy(row["currency"], policy_of(row), row["revision"])


def _is_known(place: GrantPlace) -> bool:
    """A process of an earlier release leaves out what it does not know."""
    return place.kind == _SCHEME or place.what in _ACTIONS


def _grant(place: GrantPlace) -> Grant | SchemeGrant:
    if place.kind == _SCHEME:
        return SchemeGrant(place.client, place.what)
    return Grant(place.client, GrantAction(place.what), GrantScope(place.scope), place.institution)
