"""Subscriptions and deliveries in PostgreSQL, as the projector sees them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg

import database
from paycore.domain.grants import Grants
from paycore.domain.webhooks import DeliveryState, SubscriptionState
from paycore.runtime.refreshed import grants_of
from projector.batch import Row
from projector.webhooks.events import Event
from projector.webhooks.matching import Subscription, Subscriptions
from projector.webhooks.room import Room

ROWS_AT_ONCE = 1_000
"""Deliveries that are written down in one statement."""


class Sealed(NamedTuple):
    """A secret that signs, as it is stored."""

    id: int
    data_key: int
    sealed: bytes


class Leased(NamedTuple):
    """A delivery that is this process's to send, for some time."""

    id: int
    subscription: int
    event: str
    body: str
    attempt: int
    tried: int
    created_at_us: int
    client: str
    url: str
    secrets: tuple[Sealed, ...]
    """The newest first."""


class Settled(NamedTuple):
    """How an attempt went, and what becomes of its delivery."""

    id: int
    attempt: int
    state: DeliveryState
    again_in_us: int
    started_at_us: int
    duration_us: int
    status: int | None
    failure: str | None


class FanOutStore:
    """Who is to be told, and the writing down of it, on the connection that holds the lock."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._queries: Any = database.load("webhook_deliveries")
        self._revision: int | None = None
        self._kept = Subscriptions(())

    async def subscriptions(self) -> Subscriptions:
        """Those that are enabled. They are read again once any has changed."""
        newest = await self._queries.newest_revision(self._connection)
        if newest != self._revision:
            rows = await self._queries.enabled_subscriptions(self._connection)
            self._kept = Subscriptions(map(Subscription.of, rows))
            # What changed since it was asked for is read twice.
            self._revision = newest
        return self._kept

    async def grants(self, clients: Collection[str]) -> Grants:
        """What `clients` may read now."""
        return grants_of(
            await self._queries.reading_grants(self._connection, clients=list(clients))
        )

    async def accounts(self, ids: Collection[int]) -> Mapping[int, Row]:
        """Those that there are, by id."""
        if not ids:
            return {}
        rows = await self._queries.told_accounts(self._connection, ids=list(ids))
        return {row["id"]: row for row in rows}

    async def add(self, told: Sequence[tuple[int, Event]]) -> int:
        """Write down what subscriptions are to be told; how many of them were not there yet."""
        added = 0
        for begin in range(0, len(told), ROWS_AT_ONCE):
            part = told[begin : begin + ROWS_AT_ONCE]
            added += await self._queries.add_deliveries(
                self._connection,
                subscriptions=[subscription for subscription, _ in part],
                journal_ids=[event.journal_id for _, event in part],
                places=[event.place for _, event in part],
                events=[event.type.value for _, event in part],
                bodies=[event.body for _, event in part],
            )
        return added


class DeliveryStore:
    """What is to be sent, on a connection of its own."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._queries: Any = database.load("webhook_deliveries")

    async def lease(self, room: Room, lease_s: float) -> list[Leased]:
        """What is due and has `room`."""
        rows = await self._queries.lease(
            self._connection,
            most=room.all.free,
            most_failing=room.all.failing,
            kept=room.all.kept,
            each=room.each,
            busy=list(room.subscriptions),
            free=list(room.subscriptions.values()),
            client=room.client.free,
            client_failing=room.client.failing,
            client_kept=room.client.kept,
            clients=list(room.clients),
            clients_free=[one.free for one in room.clients.values()],
            clients_failing=[one.failing for one in room.clients.values()],
            clients_kept=[one.kept for one in room.clients.values()],
            failing=list(room.failing_subscriptions),
            lease_us=_us(lease_s),
        )
        return [
            Leased(
                row["id"],
                row["subscription"],
                row["event"],
                row["body"],
                row["attempts"],
                row["tried"],
                row["created_at_us"],
                row["client"],
                row["url"],
                tuple(
                    map(
                        Sealed,
                        row["secret_ids"] or (),
                        row["data_keys"] or (),
                        row["sealed"] or (),
                    )
                ),
            )
            for row in rows
        ]

    async def record(self, settled: Sequence[Settled]) -> None:
        """Write down how attempts went."""
        columns = list(zip(*settled, strict=True))
        ids, numbers, states, again_in_us, started_us, durations_us, statuses, failures = columns
        await self._queries.record(
            self._connection,
            ids=ids,
            numbers=numbers,
            states=[state.value for state in states],
            again_in_us=again_in_us,
            started_us=started_us,
            durations_us=durations_us,
            statuses=statuses,
            failures=failures,
        )

    async def put_back(self, leased: Sequence[Leased], again_in_s: float) -> None:
        """Let them be sent later, as if they had not been tried."""
        await self._queries.put_back(
            self._connection,
            ids=[one.id for one in leased],
            numbers=[one.attempt for one in leased],
            again_in_us=_us(again_in_s),
        )

    async def give_up(
        self, subscriptions: Collection[int], state: SubscriptionState, reason: str
    ) -> None:
        """Let them be in `state`, in which nothing is sent; the audit says the reason."""
        async with self._connection.transaction():
            await self._queries.take_turn(self._connection)
            await self._queries.say_why(self._connection, reason=reason)
            await self._queries.give_up(
                self._connection, ids=list(subscriptions), state=state.value
            )

    async def overfull(self, most: int) -> set[int]:
        """Subscriptions of which more than `most` wait, written since they were last enabled."""
        return {row["id"] for row in await self._queries.overfull(self._connection, most=most)}

    async def prune(self, kept_s: float, most: int) -> int:
        """Remove at most so many that are older; how many there were."""
        removed: int = await self._queries.prune(self._connection, kept_us=_us(kept_s), most=most)
        return removed


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
