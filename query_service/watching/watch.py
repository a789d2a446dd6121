"""One watch: the past, read from the ledger by versions, then the tail, without gap or double.

Why nothing is missing where the two meet: the subscription comes first and tells a transaction from
which on everything comes through it. The past is then read from a snapshot in which every
transaction below that one has ended. So each event is in the past, in the subscription, or in both;
and what is in both is told by its version, or by its place in the journal, and sent once.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import NamedTuple

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from query_service.watching import metrics
from query_service.watching.port import (
    LAST_ID,
    AccountSnapshot,
    DeclinePlace,
    Event,
    Place,
    WatchedLedger,
)
from query_service.watching.tail import Tail, history_replaced

PAGE = 500
"""Entries, and declines, that are read at once by whoever catches up."""

HEARTBEAT_S = 3.0

GAP_CLOSES_WITHIN_S = 1.0
"""So long an entry that came before an earlier one waits for that; then the ledger is asked."""

REPLICA_WITHIN_S = 5.0
"""How long a replica may take to hold what the tail has seen, in seconds."""

_PAUSE_S = 0.02

_CAUGHT_UP, _LIVE, _HEARTBEATS = map(metrics.EVENTS.labels, ("caught_up", "live", "heartbeat"))


class Step(NamedTuple):
    """What is sent next; no event in a heartbeat."""

    event: Event | None
    place: Place
    position: Position | None
    """All up to here has been sent; None while the watch catches up."""


class Watch:
    """The watch of `account` from `place` on. `epoch` is the one in which that place was told."""

    def __init__(
        self,
        ledger: WatchedLedger,
        tail: Tail,
        clock: Clock,
        account: AccountId,
        place: Place,
        epoch: int,
        *,
        declines: bool,
    ) -> None:
        self._ledger = ledger
        self._tail = tail
        self._clock = clock
        self._account = account
        self._version = place.version
        self._decline = place.decline
        self._epoch = epoch
        self._declines = declines
        self._early: dict[int, Event] = {}
        """Entries that came before an earlier one, by version."""
        self._early_since_s = 0.0
        self._read_up_to: Position | None = None
        """Where the snapshot stood from which the past was read last."""

    @property
    def place(self) -> Place:
        """How far it has come."""
        return Place(self._version, self._decline)

    async def steps(self) -> AsyncGenerator[Step, None]:
        """Events as they happen, and a heartbeat wherever nothing does for HEARTBEAT_S.

        Raises BehindError when steps are taken too slowly, and PaycoreError: DATABASE_UNAVAILABLE,
        HISTORY_REPLACED.
        """
        async for step in self._past(0):
            yield step
        following = self._tail.following(self._account, declines=self._declines)
        async with following as subscription:
            async for step in self._past(subscription.complete_below):
                yield step
            yield self._heartbeat(self._read_up_to)
            while True:
                waits_s = GAP_CLOSES_WITHIN_S if self._early else HEARTBEAT_S
                events = await subscription.take(waits_s)
                for event in events:
                    for due in self._due(event):
                        _LIVE.inc()
                        yield Step(due, self.place, None)
                if self._gap_stays():
                    metrics.GAPS.inc()
                    async for step in self._past(0):
                        yield step
                elif not events and not self._early:
                    # Nothing waits, so all that the tail has handed out has been sent.
                    yield self._heartbeat(self._tail.position)

    def _heartbeat(self, position: Position | None) -> Step:
        _HEARTBEATS.inc()
        return Step(None, self.place, position)

    def _due(self, event: Event) -> Iterator[Event]:
        """What of the tail is to be sent now that it brought `event`."""
        if event.decline is not None:
            if event.decline > self._decline:
                self._decline = event.decline
                yield event
            return
        version = event.version_on(self._account)
        if version > self._version:
            if not self._early:
                self._early_since_s = self._clock.monotonic_s()
            self._early[version] = event
        while (due := self._early.pop(self._version + 1, None)) is not None:
            self._version += 1
            yield due

    def _gap_stays(self) -> bool:
        waited_s = self._clock.monotonic_s() - self._early_since_s
        return bool(self._early) and waited_s >= GAP_CLOSES_WITHIN_S

    async def _past(self, complete_below: int) -> AsyncIterator[Step]:
        """All that has happened since its place, as of a snapshot in which every transaction below
        `complete_below` has ended."""
        now = await self._now(complete_below)
        more = True
        while more:
            entries: Sequence[Event] = ()
            declines: Sequence[Event] = ()
            up_to = min(self._version + PAGE, now.version)
            if up_to > self._version:
                entries = await self._ledger.entries(self._account, self._version, up_to)
            if self._declines:
                declines = await self._ledger.declines(
                    self._account, self._decline, now.complete_below, PAGE
                )
            for event in heapq.merge(entries, declines, key=_created_at_us):
                if event.decline is None:
                    self._version += 1
                else:
                    self._decline = event.decline
                _CAUGHT_UP.inc()
                yield Step(event, self.place, None)
            more = up_to < now.version or len(declines) == PAGE
        # None of those is left, so that what the tail brings of them is known to be sent.
        self._decline = max(self._decline, DeclinePlace(now.complete_below - 1, LAST_ID))
        self._read_up_to = now.position
        self._early = {v: event for v, event in self._early.items() if v > self._version}

    async def _now(self, complete_below: int) -> AccountSnapshot:
        give_up_s = self._clock.monotonic_s() + REPLICA_WITHIN_S
        while True:
            now = await self._ledger.account_now(self._account)
            if now.position.epoch != self._epoch:
                raise history_replaced(now.position.epoch)
            if now.complete_below >= complete_below and now.version >= self._version:
                return now
            if self._clock.monotonic_s() > give_up_s:
                raise behind()
            await asyncio.sleep(_PAUSE_S)


def behind() -> PaycoreError:
    """The refusal of a ledger that does not hold yet what is to follow."""
    return PaycoreError(
        Reason.DATABASE_UNAVAILABLE,
        "the ledger that is read here has not come so far yet",
        retry_after_ms=500,
    )


def _created_at_us(event: Event) -> int:
    return event.record.created_at_us
