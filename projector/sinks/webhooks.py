"""The sink that tells clients of events: it writes down who is to be told, and has it sent.

What is written down twice is there once: a delivery's subscription, journal row and place are
unique. So nothing is lost or doubled where the feed ends between that and its checkpoint.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

import database
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from projector.batch import Batch, Decoded, Row
from projector.journal_rows import JournalRow, RowDecoder
from projector.persistence import Persistence
from projector.readiness import Readiness
from projector.sinks import Rejection, Session
from projector.webhooks.addresses import AddressRules, Look, system_look
from projector.webhooks.deliverer import Deliverer, DelivererSettings
from projector.webhooks.events import Event, events_of, named_accounts
from projector.webhooks.matching import may_be_told
from projector.webhooks.metrics import FANNED_OUT
from projector.webhooks.secrets import KeysById, Secrets
from projector.webhooks.sender import Sender
from projector.webhooks.store import FanOutStore

NAME = "webhooks"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """What the sink needs to know."""

    deliverer: DelivererSettings
    networks: str
    refused_networks: str
    public: bool
    http: bool
    look: Look = system_look


class WebhookDecoder:
    """Gives rows of the journal; none where nobody is to be told of anything yet."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._rows = RowDecoder(connection)
        self._queries: Any = database.load("webhook_deliveries")

    async def decode(self, journal: Sequence[Row]) -> Decoded[JournalRow]:
        """An item a row. Raises LedgerIncompleteError."""
        last = journal[-1]
        if not await self._queries.any_before(
            self._connection, xid=last["xid"], journal_id=last["id"]
        ):
            return Decoded(())
        return await self._rows.decode(journal)


class WebhookSink:
    """Takes rows of the journal."""

    name = NAME

    def __init__(
        self,
        settings: WebhookSettings,
        keys: KeysById,
        clock: Clock,
        readiness: Readiness,
        chance: random.Random,
    ) -> None:
        """Raises ValueError for networks that are none."""
        self._settings = settings
        self._rules = AddressRules(
            settings.networks, refused=settings.refused_networks, public=settings.public
        )
        self._secrets = Secrets(keys)
        self._clock = clock
        self._persistence = Persistence(readiness, chance)
        self._chance = chance
        self._store: FanOutStore | None = None
        self._deliverer: Deliverer | None = None
        self._delivering: asyncio.Task[None] | None = None

    def decoder(self, connection: asyncpg.Connection) -> WebhookDecoder:
        """Rows with what they name."""
        return WebhookDecoder(connection)

    async def start(self, session: Session) -> Position:
        """Begin to send. In a new epoch it follows the journal from its end: what was told of the
        history before is not told again."""
        queries: Any = database.load("generations")
        last = await queries.journal_end(session.connection)
        self._store = FanOutStore(session.connection)
        self._deliverer = Deliverer(
            self._settings.deliverer,
            session.connect,
            Sender(
                self._rules,
                within_s=self._settings.deliverer.attempt_s,
                http=self._settings.http,
                look=self._settings.look,
            ),
            self._secrets,
            self._persistence,
            self._clock,
            self._chance,
        )
        self._delivering = asyncio.create_task(self._deliverer.run(), name="webhook-deliverer")
        if last is None:
            return Position.beginning(session.epoch)
        return Position(session.epoch, last["xid"], last["id"])

    async def accept(self, batch: Batch[JournalRow]) -> Sequence[Rejection]:
        """Write down who is to be told; nothing is ever refused."""
        if self._delivering is not None and self._delivering.done():
            self._delivering.result()
        if batch.items and self._store is not None and self._deliverer is not None:
            told = await self._told(batch.items)
            if told:
                await self._store.add(told)
                for event_type, many in Counter(event.type.value for _, event in told).items():
                    FANNED_OUT.labels(event_type).inc(many)
                self._deliverer.wake()
        return ()

    async def _told(self, rows: Sequence[JournalRow]) -> list[tuple[int, Event]]:
        """Which subscription is to be told of what, by the grants of now."""
        assert self._store is not None
        subscriptions = await self._store.subscriptions()
        if not subscriptions.clients:
            return []
        accounts = dict(await self._store.accounts(named_accounts(rows)))
        wanted = [
            (one, event)
            for row in rows
            for event in events_of(row, accounts)
            for one in subscriptions.wanting(event)
        ]
        sides = {side for _, event in wanted for side in event.sides}
        accounts.update(await self._store.accounts(sides - accounts.keys()))
        grants = await self._store.grants(subscriptions.clients)
        return [
            (one.id, event) for one, event in wanted if may_be_told(one, event, grants, accounts)
        ]

    async def tend(self, position: Position) -> None:
        """Nothing: what is due is sent beside the feed."""

    async def stop(self) -> None:
        """End sending; what is under way is sent again by whoever comes next."""
        if self._delivering is not None:
            self._delivering.cancel()
            await asyncio.gather(self._delivering, return_exceptions=True)
        if self._deliverer is not None:
            await self._deliverer.stop()
