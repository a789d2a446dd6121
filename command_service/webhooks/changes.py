"""What each command about webhooks does to the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import asyncpg

import database
from command_service.webhooks.commands import (
    CreateSubscription,
    Figures,
    ReplayDead,
    ReplayDelivery,
    RotateSecret,
    SwitchSubscription,
    WebhookCommand,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import GrantAction
from paycore.domain.rules import Rules
from paycore.domain.webhooks import MAX_ENABLED, MAX_REPLAYED, MAX_SIGNING


class SealedSecret(NamedTuple):
    """A new secret of a subscription as it is stored."""

    id: int
    subscription: int
    data_key: int
    sealed: bytes


class WebhookChanges:
    """Makes changes, within a transaction in which no other is made."""

    def __init__(self, rules: Callable[[], Rules]) -> None:
        self._rules = rules
        self._queries: Any = database.load("webhooks")

    def reaches(self, caller: str, client: str) -> bool:
        """Whether `caller` sees and changes what is `client`'s."""
        return caller == client or self._rules().grants.everywhere(caller, GrantAction.WEBHOOKS)

    async def make(
        self,
        connection: asyncpg.Connection,
        command: WebhookCommand,
        secret: SealedSecret | None,
        journal_id: int,
        now_us: int,
    ) -> Figures:
        """Raises PaycoreError: SUBSCRIPTION_NOT_FOUND, DELIVERY_NOT_FOUND, TOO_MANY_SUBSCRIPTIONS,
        ILLEGAL_STATE. `secret` is there where the command makes one."""
        match command:
            case CreateSubscription():
                assert secret is not None
                return await self._create(connection, command, secret, journal_id, now_us)
            case SwitchSubscription():
                return await self._switch(connection, command, journal_id)
            case RotateSecret():
                assert secret is not None
                return await self._rotate(connection, command, secret, now_us)
            case ReplayDelivery():
                found = await self._queries.find_delivery(connection, id=command.delivery)
                if found is None or not self.reaches(command.client, found["client"]):
                    raise delivery_not_found(command.delivery)
                sent = await self._queries.replay_one(connection, id=command.delivery)
                return Figures(found["subscription"], deliveries=int(sent is not None))
            case ReplayDead():
                await self.find(connection, command.client, command.subscription)
                many = await self._queries.replay_dead(
                    connection,
                    subscription=command.subscription,
                    since_us=command.since_us,
                    most=MAX_REPLAYED,
                )
                return Figures(command.subscription, deliveries=many)

    async def find(self, connection: asyncpg.Connection, caller: str, subscription: int) -> Any:
        """Its row, where `caller` may see it. Raises PaycoreError SUBSCRIPTION_NOT_FOUND."""
        row = await self._queries.find_subscription(connection, id=subscription)
        if row is None or not self.reaches(caller, row["client"]):
            raise subscription_not_found(subscription)
        return row

    async def _create(
        self,
        connection: asyncpg.Connection,
        command: CreateSubscription,
        secret: SealedSecret,
        journal_id: int,
        now_us: int,
    ) -> Figures:
        await self._check_room(connection, command.client)
        await self._queries.add_subscription(
            connection,
            id=secret.subscription,
            client=command.client,
            url=command.url,
            events=command.events,
            accounts=command.accounts,
            description=command.description,
            journal_id=journal_id,
            created_us=now_us,
        )
        await self._queries.add_secret(connection, **secret._asdict(), created_us=now_us)
        return Figures(secret.subscription, secret.id, changed=True)

    async def _switch(
        self, connection: asyncpg.Connection, command: SwitchSubscription, journal_id: int
    ) -> Figures:
        which = command.subscription
        row = await self.find(connection, command.client, which)
        if not command.enabled:
            done = await self._queries.disable(connection, id=which)
        elif row["state"] == "ENABLED":
            done = None
        else:
            await self._check_room(connection, row["client"])
            done = await self._queries.enable(connection, id=which, journal_id=journal_id)
        return Figures(which, changed=done is not None)

    async def _rotate(
        self,
        connection: asyncpg.Connection,
        command: RotateSecret,
        secret: SealedSecret,
        now_us: int,
    ) -> Figures:
        which = command.subscription
        await self.find(connection, command.client, which)
        await self._queries.end_secrets(
            connection, subscription=which, overlap_us=command.overlap_us
        )
        await self._queries.drop_ended_secrets(connection, subscription=which)
        signing = await self._queries.count_signing(connection, subscription=which)
        if signing >= MAX_SIGNING:
            raise PaycoreError(
                Reason.ILLEGAL_STATE,
                f"{signing} secrets sign already: wait, or rotate with a shorter overlap",
                {"id": str(which), "signing": str(signing)},
            )
        await self._queries.add_secret(connection, **secret._asdict(), created_us=now_us)
        return Figures(which, secret.id, changed=True)

    async def _check_room(self, connection: asyncpg.Connection, client: str) -> None:
        enabled = await self._queries.count_enabled(connection, client=client)
        if enabled >= MAX_ENABLED:
            raise PaycoreError(
                Reason.TOO_MANY_SUBSCRIPTIONS,
                f"{client} has {enabled} subscriptions",
                {"client": client, "limit": str(MAX_ENABLED)},
            )


def subscription_not_found(subscription: int) -> PaycoreError:
    """The refusal for an id that no subscription has which the caller may see."""
    return PaycoreError(
        Reason.SUBSCRIPTION_NOT_FOUND,
        f"no subscription {subscription}",
        {"id": str(subscription)},
    )


def delivery_not_found(delivery: int) -> PaycoreError:
    """The refusal for an id that no delivery has which the caller may see."""
    return PaycoreError(Reason.DELIVERY_NOT_FOUND, f"no delivery {delivery}", {"id": str(delivery)})
