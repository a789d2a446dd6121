"""Commands about webhooks as servicers give them, and what stands in the tables."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from command_service.webhooks.commands import (
    CreateSubscription,
    Delivery,
    DeliveryFilter,
    ReplayDead,
    ReplayDelivery,
    RotateSecret,
    SwitchSubscription,
    WebhookCommand,
    WebhookOutcome,
)
from command_service.webhooks.ledger import WebhookLedger
from paycore.domain.transfers import Details
from paycore.domain.webhooks import DeliveryState
from tests.integration.projector.index import until
from tests.integration.projector.ledger import TestLedger
from tests.support.command_core import AMPLE_S, CommandCore

NOBODY = Details()
CLIENT = "app"
"""Opened the accounts of the test ledger, and may read them."""


@dataclass
class Desk:
    """A client's hand on its subscriptions."""

    webhooks: WebhookLedger
    core: CommandCore
    ledger: TestLedger

    async def do(self, command: WebhookCommand) -> WebhookOutcome:
        return await self.webhooks.change(command, self.core.clock.monotonic_s() + AMPLE_S)

    async def create(
        self, url: str, *events: str, client: str = CLIENT, accounts: tuple[int, ...] = ()
    ) -> WebhookOutcome:
        """Subscribe `client`; to everything where no events are named."""
        return await self.do(creation(url, *events, client=client, accounts=accounts))

    async def switch(
        self, subscription: int, *, enabled: bool, client: str = CLIENT
    ) -> WebhookOutcome:
        return await self.do(
            SwitchSubscription(client, key(), b"s", subscription, enabled, "test", NOBODY)
        )

    async def rotate(
        self, subscription: int, overlap_us: int, client: str = CLIENT
    ) -> WebhookOutcome:
        return await self.do(
            RotateSecret(client, key(), b"r", subscription, overlap_us, "", NOBODY)
        )

    async def replay(self, delivery: int, client: str = CLIENT) -> WebhookOutcome:
        return await self.do(ReplayDelivery(client, key(), b"p", delivery, "", NOBODY))

    async def replay_dead(self, subscription: int, since_us: int = 0) -> WebhookOutcome:
        return await self.do(ReplayDead(CLIENT, key(), b"d", subscription, since_us, "", NOBODY))

    async def deliveries(
        self, subscription: int, state: DeliveryState | None = None, client: str = CLIENT
    ) -> list[Delivery]:
        """The newest first."""
        return await self.webhooks.deliveries(
            client, DeliveryFilter(subscription, state), None, 1_000
        )

    async def until_all(self, subscription: int, state: DeliveryState, count: int) -> None:
        """Wait until `count` deliveries are in `state`."""

        async def reached() -> bool:
            rows = await self.rows(
                "SELECT FROM webhooks.deliveries WHERE subscription = $1 AND state = $2",
                subscription,
                state.value,
            )
            return len(rows) == count

        await until(reached, 90)

    async def until_all_of(self, subscription: int, wanted: set[str]) -> None:
        """Wait until a subscription was told about all of `wanted`, by their ids."""

        async def reached() -> bool:
            rows = await self.rows(
                "SELECT body::json->'data'->>'id' AS id FROM webhooks.deliveries"
                " WHERE subscription = $1",
                subscription,
            )
            return wanted <= {row["id"] for row in rows}

        await until(reached, 90)

    async def followed(self) -> None:
        """Wait until the sink has followed the journal to its end."""
        last = await self.ledger.last_xid()

        async def reached() -> bool:
            return await self.ledger.checkpoint_xid() >= last

        await until(reached, 90)

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return await self.ledger.rows(query, *values)


def key() -> str:
    return secrets.token_hex(8)


def creation(
    url: str, *events: str, client: str = CLIENT, accounts: tuple[int, ...] = ()
) -> CreateSubscription:
    """A request with a key of its own."""
    return CreateSubscription(
        client, key(), b"c", url, events or ("*",), accounts, "test", "", NOBODY
    )
