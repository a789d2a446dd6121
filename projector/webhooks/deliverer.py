"""Sends what is due, beside the feed that writes it down."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import asyncpg
import structlog

from paycore.domain.webhook_signature import (
    ATTEMPT_HEADER,
    DELIVERY_HEADER,
    EVENT_HEADER,
    SIGNATURE_HEADER,
    WebhookSecret,
    signature_header,
)
from paycore.domain.webhooks import DeliveryState, SubscriptionState
from paycore.runtime.clock import Clock
from paycore.runtime.database import DISCONNECTED
from projector.persistence import Persistence
from projector.webhooks import metrics
from projector.webhooks.room import Shares, room_beside
from projector.webhooks.schedule import next_wait_s
from projector.webhooks.secrets import Secrets
from projector.webhooks.sender import Answer, Failure, Sender
from projector.webhooks.store import DeliveryStore, Leased, Settled

POLL_S = 0.25
"""How often it is looked for what is due, in seconds, where nobody says that there is something."""

LEASE_BEYOND_S = 20.0
"""How much longer than an attempt a lease is, in seconds: for keys, and for writing down."""

KEY_AGAIN_S = 5.0
"""When a delivery is tried again for whose secret there was no key, in seconds."""

PRUNE_EVERY_S = 60.0
PRUNED_AT_ONCE = 1_000

BOUND_EVERY_S = 10.0
"""How often it is looked for subscriptions of which too much waits, in seconds."""

GONE_REASON = "the endpoint answered 410 Gone"

_GONE = 410
_STEP = "webhooks"

Connect = Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DelivererSettings:
    """Bounds on sending."""

    attempt_s: float
    shares: Shares
    waiting_most: int
    """Deliveries of a subscription that may wait; with more it is disabled."""
    schedule_s: tuple[float, ...]
    kept_s: float


class Deliverer:
    """Works in one process at a time as a rule; leases keep two from sending the same."""

    def __init__(
        self,
        settings: DelivererSettings,
        connect: Connect,
        sender: Sender,
        secrets: Secrets,
        persistence: Persistence,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._sender = sender
        self._secrets = secrets
        self._persistence = persistence
        self._clock = clock
        self._chance = chance
        self._wake = asyncio.Event()
        self._under_way: dict[int, tuple[Leased, asyncio.Task[None]]] = {}
        self._settled: list[Settled] = []
        self._back: list[Leased] = []
        self._gone: set[int] = set()
        self._failing: set[int] = set()
        """Subscriptions whose last attempt failed."""
        self._prune_at_s = 0.0
        self._bound_at_s = 0.0

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled, also while the database is away for a time."""
        backoff = self._persistence.backoff()
        while True:
            try:
                async with self._connect() as connection:
                    store = DeliveryStore(connection)
                    try:
                        while True:
                            await self._step(store)
                            backoff.reset()
                            self._persistence.cleared(_STEP)
                            await self._rest()
                    except asyncio.CancelledError:
                        await self._leave(store)
                        raise
            except (*DISCONNECTED, asyncpg.PostgresError) as error:
                await self._persistence.pause(_STEP, type(error).__name__, backoff)

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()

    async def _step(self, store: DeliveryStore) -> None:
        self._wake.clear()
        await self._write(store)
        room = room_beside(
            (leased for leased, _ in self._under_way.values()),
            self._failing,
            self._settings.shares,
        )
        if room.all.free > 0:
            lease_s = self._settings.attempt_s + LEASE_BEYOND_S
            for leased in await store.lease(room, lease_s):
                task = asyncio.create_task(self._deliver(leased), name="webhook")
                self._under_way[leased.id] = (leased, task)
        metrics.UNDER_WAY.set(len(self._under_way))
        if self._clock.monotonic_s() >= self._prune_at_s:
            await self._prune(store)
        if self._clock.monotonic_s() >= self._bound_at_s:
            await self._bound(store)

    async def _write(self, store: DeliveryStore) -> None:
        """What came of attempts. What cannot be written now is kept for the next time."""
        while self._gone:
            gone = set(self._gone)
            await store.give_up(gone, SubscriptionState.GONE, GONE_REASON)
            self._gone -= gone
            metrics.GONE.inc(len(gone))
            log.warning("webhooks disabled: endpoints are gone", subscriptions=sorted(gone))
        settled, back = list(self._settled), list(self._back)
        if settled:
            await store.record(settled)
            del self._settled[: len(settled)]
            for one in settled:
                if one.state is not DeliveryState.PENDING:
                    metrics.ENDED.labels(one.state.value).inc()
        if back:
            await store.put_back(back, KEY_AGAIN_S)
            del self._back[: len(back)]

    async def _prune(self, store: DeliveryStore) -> None:
        removed = await store.prune(self._settings.kept_s, PRUNED_AT_ONCE)
        metrics.PRUNED.inc(removed)
        if removed < PRUNED_AT_ONCE:
            self._prune_at_s = self._clock.monotonic_s() + PRUNE_EVERY_S

    async def _bound(self, store: DeliveryStore) -> None:
        """Disable what is told of more than its endpoint takes: it would fill the tables."""
        self._bound_at_s = self._clock.monotonic_s() + BOUND_EVERY_S
        most = self._settings.waiting_most
        overfull = await store.overfull(most)
        if overfull:
            reason = f"more than {most} deliveries wait"
            await store.give_up(overfull, SubscriptionState.DISABLED, reason)
            metrics.OVERFULL.inc(len(overfull))
            log.warning("webhooks disabled: too much waits", subscriptions=sorted(overfull))

    async def _leave(self, store: DeliveryStore) -> None:
        """Give back what is under way, so that whoever comes next need not wait for the leases."""
        left = [leased for leased, _ in self._under_way.values()]
        await self._stop_sending()
        try:
            await self._write(store)
            if left:
                await store.put_back(left, 0.0)
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            log.warning("deliveries wait for the end of their leases", error=type(error).__name__)

    async def _stop_sending(self) -> None:
        tasks = [task for _, task in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._under_way.clear()

    async def stop(self) -> None:
        """End what is still under way."""
        await self._stop_sending()
        await self._sender.close()

    async def _deliver(self, leased: Leased) -> None:
        started_us, began_s = self._clock.now_us(), self._clock.monotonic_s()
        answer: Answer | None = None
        try:
            secrets = await self._secrets.of(leased)
            if secrets is not None:
                if leased.attempt == 1:
                    waited_us = max(0, started_us - leased.created_at_us)
                    metrics.FIRST_SENT_SECONDS.observe(waited_us / 1e6)
                answer = await self._send(leased, secrets)
        except Exception:
            # A defect: the lease ends by itself, and the attempt counts.
            log.exception("delivery failed", delivery=leased.id)
        else:
            if answer is None:
                metrics.PUT_BACK.inc()
                self._back.append(leased)
            else:
                took_s = self._clock.monotonic_s() - began_s
                metrics.ATTEMPTS.labels(answer.label).inc()
                metrics.ATTEMPT_SECONDS.observe(took_s)
                self._settle(leased, answer, started_us, took_s)
        finally:
            self._under_way.pop(leased.id, None)
            self.wake()

    async def _send(self, leased: Leased, secrets: list[WebhookSecret]) -> Answer:
        if not secrets:
            return Answer(failure=Failure.SECRET_ERASED)
        body = leased.body.encode()
        headers = {
            SIGNATURE_HEADER: signature_header(secrets, self._clock.now_us() // 1_000_000, body),
            EVENT_HEADER: leased.event,
            DELIVERY_HEADER: str(leased.id),
            ATTEMPT_HEADER: str(leased.attempt),
        }
        return await self._sender.post(leased.url, headers, body)

    def _settle(self, leased: Leased, answer: Answer, started_us: int, took_s: float) -> None:
        state, wait_s = DeliveryState.DELIVERED, 0.0
        if answer.taken:
            self._failing.discard(leased.subscription)
        else:
            self._failing.add(leased.subscription)
            again_s = next_wait_s(
                self._settings.schedule_s, leased.tried, answer.wait_s, self._chance
            )
            if answer.status == _GONE:
                self._gone.add(leased.subscription)
                again_s = None
            state = DeliveryState.DEAD if again_s is None else DeliveryState.PENDING
            wait_s = again_s or 0.0
        self._settled.append(
            Settled(
                leased.id,
                leased.attempt,
                state,
                int(wait_s * 1_000_000),
                started_us,
                max(0, int(took_s * 1_000_000)),
                answer.status,
                None if answer.failure is None else answer.failure.value,
            )
        )
