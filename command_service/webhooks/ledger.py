"""Webhooks in PostgreSQL: changed one command at a time, audited by the tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

import database
from command_service.accounts.acting import Acting, Actors, act_as
from command_service.accounts.ledger import AccountLedger
from command_service.accounts.turns import AccountTurns
from command_service.transactions import Transactions, reading
from command_service.webhooks.changes import SealedSecret, WebhookChanges
from command_service.webhooks.commands import (
    Attempt,
    CreateSubscription,
    Delivery,
    DeliveryFilter,
    Figures,
    RotateSecret,
    Subscription,
    SwitchSubscription,
    WebhookCommand,
    WebhookOutcome,
)
from command_service.webhooks.secrets import Secrets
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason, account_not_found, key_reused
from paycore.domain.grants import GrantAction
from paycore.domain.position import Position
from paycore.domain.rules import Rules
from paycore.domain.webhook_signature import WebhookSecret
from paycore.domain.webhooks import DeliveryState, SubscriptionState
from paycore.runtime.clock import Clock
from paycore.runtime.snowflake import IdSource

OUTCOME = "POLICY"
"""The kind of outcome under which keys are stored: like changes of policy, these have no row of
their own beside the audit."""

LAST_ATTEMPTS = 20
"""Attempts of a delivery that are shown."""

_NEWEST = 2**63 - 1


class WebhookLedger:
    """Reads and changes subscriptions, and replays deliveries."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        transactions: Transactions,
        rules: Callable[[], Rules],
        accounts: AccountLedger,
        secrets: Secrets,
        ids: IdSource,
        clock: Clock,
        actors: Actors,
    ) -> None:
        self._pool = pool
        self._transactions = transactions
        self._accounts = accounts
        self._secrets = secrets
        self._ids = ids
        self._clock = clock
        self._actors = actors
        self._turns = AccountTurns(clock)
        self._changes = WebhookChanges(rules)
        self._queries: Any = database.load("webhooks")
        self._keys: Any = database.load("accounts")

    async def subscriptions(
        self, caller: str, client: str, after: int, most: int
    ) -> list[Subscription]:
        """The next `most` of `client` after that id.

        Raises PaycoreError NOT_PERMITTED, and UnreachableError.
        """
        if not self._changes.reaches(caller, client):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{caller} may not see the webhooks of others",
                {"grant": GrantAction.WEBHOOKS},
            )
        async with reading(self._pool) as connection:
            found = await self._queries.list_subscriptions(
                connection, client=client, after_id=after, most=most
            )
        return [_subscription(row) for row in found]

    async def deliveries(
        self, caller: str, wanted: DeliveryFilter, before: int | None, most: int
    ) -> list[Delivery]:
        """The next `most` older than that id.

        Raises PaycoreError SUBSCRIPTION_NOT_FOUND, and UnreachableError.
        """
        async with reading(self._pool) as connection:
            await self._changes.find(connection, caller, wanted.subscription)
            rows = await self._find_deliveries(connection, wanted, before or _NEWEST, most)
            attempts = await self._queries.last_attempts(
                connection, deliveries=[row["id"] for row in rows], most=LAST_ATTEMPTS
            )
        by_delivery: dict[int, list[Attempt]] = {}
        for delivery, *attempt in attempts:
            by_delivery.setdefault(delivery, []).append(Attempt(*attempt))
        return [_delivery(row, by_delivery.get(row["id"], ())) for row in rows]

    async def _find_deliveries(
        self, connection: asyncpg.Connection, wanted: DeliveryFilter, before: int, most: int
    ) -> Sequence[Any]:
        queries, which = self._queries, wanted.subscription
        if wanted.event is not None:
            journal_id, place = wanted.event
            rows: Sequence[Any] = await queries.find_deliveries_of_event(
                connection, subscription=which, journal_id=journal_id, place=place
            )
            return [row for row in rows if row["id"] < before]
        page = {
            "subscription": which,
            "event": wanted.event_type,
            "before_id": before,
            "most": most,
        }
        if wanted.state is None:
            rows = await queries.list_deliveries(connection, **page)
        else:
            rows = await queries.list_deliveries_in_state(
                connection, state=wanted.state.value, **page
            )
        return rows

    async def change(self, command: WebhookCommand, deadline_s: float) -> WebhookOutcome:
        """Carry `command` out; the tables write who did it to the audit.

        Raises PaycoreError: SUBSCRIPTION_NOT_FOUND, DELIVERY_NOT_FOUND, ACCOUNT_NOT_FOUND,
        NOT_PERMITTED, TOO_MANY_SUBSCRIPTIONS, ILLEGAL_STATE, IDEMPOTENCY_KEY_REUSED,
        SIGNER_UNAVAILABLE, CONTENTION, DATABASE_UNAVAILABLE, OVERLOADED, DEADLINE_EXCEEDED; nothing
        is written after the monotonic time `deadline_s`.
        """

        async def attempt() -> WebhookOutcome:
            async with reading(self._pool) as connection:
                done = await self._stored(connection, command)
            if done is None:
                done = await self._carry_out(command, deadline_s)
            return done

        outcome = await self._turns.run(command.client, attempt, deadline_s)
        return await self._told(command, outcome, deadline_s)

    async def _carry_out(self, command: WebhookCommand, deadline_s: float) -> WebhookOutcome:
        if isinstance(command, CreateSubscription):
            await self._check_accounts(command)
        journal_id, audit_id, new_id, secret_id = await self._ids.take(4)
        made: WebhookSecret | None = None
        sealed: SealedSecret | None = None
        if isinstance(command, CreateSubscription | RotateSecret):
            which = new_id if isinstance(command, CreateSubscription) else command.subscription
            if isinstance(command, RotateSecret):
                # Before a key is made for a subscription that there may not be.
                async with reading(self._pool) as connection:
                    await self._changes.find(connection, command.client, which)
            within_s = deadline_s - self._clock.monotonic_s()
            made, sealed = await self._secrets.make(secret_id, which, within_s)

        acting = await self._actors.of(command.client, command.actor)

        async def work(connection: asyncpg.Connection) -> tuple[WebhookOutcome, int | None]:
            done = await self._write(connection, command, acting, sealed, journal_id, audit_id)
            self._turns.check_time(deadline_s)
            return done

        outcome, position = await self._transactions.run(journal_id, work)
        if position is None:
            return outcome
        return outcome._replace(position=position, secret=made)

    async def _write(
        self,
        connection: asyncpg.Connection,
        command: WebhookCommand,
        acting: Acting,
        sealed: SealedSecret | None,
        journal_id: int,
        audit_id: int,
    ) -> tuple[WebhookOutcome, int | None]:
        await self._queries.take_turn(connection)
        stored = await self._stored(connection, command)
        if stored is not None:
            return stored, None
        await act_as(self._keys, connection, acting, reason=command.reason, audit_id=audit_id)
        now_us = self._clock.now_us()
        figures = await self._changes.make(connection, command, sealed, journal_id, now_us)
        await self._keys.write_keys(
            connection,
            clients=[command.client],
            keys=[command.key],
            outcome=OUTCOME,
            outcome_ids=[journal_id],
            hashes=[command.request_hash],
            figures=[json.dumps(figures._asdict())],
            journal_id=journal_id,
        )
        xid: int = await self._keys.write_journal(
            connection, id=journal_id, created_us=now_us, accounts=[]
        )
        return WebhookOutcome(figures, Position(self._transactions.epoch, xid, journal_id)), xid

    async def _stored(
        self, connection: asyncpg.Connection, command: WebhookCommand
    ) -> WebhookOutcome | None:
        for row in await self._keys.find_keys(
            connection, clients=[command.client], keys=[command.key]
        ):
            if row["outcome"] != OUTCOME or row["request_hash"] != command.request_hash:
                raise key_reused(command.key)
            position = Position(self._transactions.epoch, row["journal_xid"], row["journal_id"])
            return WebhookOutcome(Figures.of(json.loads(row["figures"])), position, replayed=True)
        return None

    async def _check_accounts(self, command: CreateSubscription) -> None:
        """Raises PaycoreError ACCOUNT_NOT_FOUND or NOT_PERMITTED."""
        wanted = [AccountId(one) for one in command.accounts]
        found = await self._accounts.read_many(wanted) if wanted else {}
        for one in wanted:
            if one not in found:
                raise account_not_found(one)
            if not self._accounts.may_read(command.client, found[one]):
                raise PaycoreError(
                    Reason.NOT_PERMITTED,
                    f"{command.client} may not read account {one}",
                    {"account": str(one), "grant": GrantAction.READ},
                )

    async def _told(
        self, command: WebhookCommand, outcome: WebhookOutcome, deadline_s: float
    ) -> WebhookOutcome:
        """`outcome` with what is to be shown of it."""
        figures = outcome.figures
        if isinstance(command, CreateSubscription | SwitchSubscription):
            async with reading(self._pool) as connection:
                row = await self._changes.find(connection, command.client, figures.subscription)
            outcome = outcome._replace(subscription=_subscription(row))
        if outcome.replayed and figures.secret:
            async with reading(self._pool) as connection:
                row = await self._queries.find_secret(connection, id=figures.secret)
            if row is not None:
                within_s = deadline_s - self._clock.monotonic_s()
                outcome = outcome._replace(secret=await self._secrets.reveal(row, within_s))
        return outcome


def _subscription(row: Any) -> Subscription:
    return Subscription(
        row["id"],
        row["client"],
        row["url"],
        tuple(row["events"]),
        tuple(row["accounts"]),
        row["description"],
        SubscriptionState(row["state"]),
        row["revision"],
        row["created_at_us"],
    )


def _delivery(row: Any, attempts: Sequence[Attempt]) -> Delivery:
    return Delivery(
        row["id"],
        row["subscription"],
        row["journal_id"],
        row["place"],
        row["event"],
        DeliveryState(row["state"]),
        row["created_at_us"],
        row["due_at_us"],
        row["ended_at_us"],
        tuple(attempts),
    )
