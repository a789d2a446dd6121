"""One tail of the journal a process, fanned out to those who watch. It reads only while any do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from query_service.watching import metrics
from query_service.watching.port import Event, Page, Snapshot, WatchedLedger
from query_service.watching.subscription import Subscription

IDLE_S = 0.02
"""Between two readings of a journal that rests."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0
"""Between two readings while the database does not answer."""

GIVE_UP_AFTER_S = 10.0
"""After so long without an answer those who watch are told to go elsewhere, in seconds."""

JOIN_WITHIN_S = 5.0

log = structlog.get_logger()


class Tail:
    """Follows the journal from when somebody begins to watch. `run` must run."""

    def __init__(self, ledger: WatchedLedger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._joining: list[Subscription] = []
        self._joined: dict[AccountId, set[Subscription]] = {}
        self._wanted = asyncio.Event()
        self._reached: Snapshot | None = None
        self._answered_s = clock.monotonic_s()
        self._moved_s = clock.monotonic_s()

    @property
    def position(self) -> Position | None:
        """Everything up to here has been handed to those who watch; None while nobody does."""
        return None if self._reached is None else self._reached.position

    def age_s(self) -> float:
        """For how long what is new may be waiting, in seconds: that is, since when the database has
        not answered, or unfinished transactions hold up what came after them."""
        if self._reached is None:
            return 0.0
        return self._clock.monotonic_s() - min(self._answered_s, self._moved_s)

    @asynccontextmanager
    async def following(self, account: AccountId, *, declines: bool) -> AsyncIterator[Subscription]:
        """A subscription to what happens on `account` from a transaction on that it tells.

        Raises PaycoreError DATABASE_UNAVAILABLE when the journal cannot be read.
        """
        subscription = Subscription(account, declines=declines)
        self._joining.append(subscription)
        self._wanted.set()
        try:
            try:
                async with asyncio.timeout(JOIN_WITHIN_S):
                    await subscription.joined.wait()
            except TimeoutError:
                raise _unavailable() from None
            yield subscription
        finally:
            self._leave(subscription)

    async def run(self) -> None:
        """Read the journal again and again while somebody watches."""
        pause_s = FIRST_PAUSE_S
        while True:
            if not (self._joining or self._joined):
                self._reached = None
                self._wanted.clear()
                await self._wanted.wait()
                self._answered_s = self._moved_s = self._clock.monotonic_s()
            try:
                more = await self._step()
            except Exception as error:  # whatever it is, the next reading may succeed
                if not isinstance(error, PaycoreError):
                    log.exception("the journal cannot be followed")
                self._fail()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            await asyncio.sleep(0 if more else IDLE_S)

    async def _step(self) -> bool:
        """Read one page and hand it out; returns whether there is more."""
        if self._reached is None:
            self._reached = await self._ledger.begin()
        # Only those who are known before the page is asked for are sent what is in it.
        self._let_in(self._reached)
        page = await self._ledger.follow(self._reached, self._joined.keys())
        now_s = self._clock.monotonic_s()
        self._answered_s = now_s
        before, after = self._reached, page.snapshot
        if after.position.epoch != before.position.epoch:
            self._end_all(history_replaced(after.position.epoch))
            self._reached = None
            return True
        if after.complete_below != before.complete_below or not page.stalled:
            self._moved_s = now_s
        self._hand_out(page)
        self._reached = after
        return page.full

    def _let_in(self, reached: Snapshot) -> None:
        for subscription in self._joining:
            subscription.complete_below = reached.complete_below
            self._joined.setdefault(subscription.account, set()).add(subscription)
            subscription.joined.set()
        self._joining.clear()

    def _hand_out(self, page: Page) -> None:
        if page.events:
            now_us = self._clock.now_us()
            for written_us in page.written_us:
                metrics.DELAY_SECONDS.observe(max(0, now_us - written_us) / 1e6)
        for event in page.events:
            record = event.record
            self._offer(record.debit_account, event)
            if event.decline is None and record.credit_version:
                self._offer(record.credit_account, event)

    def _offer(self, account: AccountId, event: Event) -> None:
        for subscription in self._joined.get(account, ()):
            subscription.offer(event)

    def _leave(self, subscription: Subscription) -> None:
        if subscription in self._joining:
            self._joining.remove(subscription)
        mine = self._joined.get(subscription.account)
        if mine is not None:
            mine.discard(subscription)
            if not mine:
                del self._joined[subscription.account]

    def _fail(self) -> None:
        if self._clock.monotonic_s() - self._answered_s > GIVE_UP_AFTER_S:
            self._end_all(_unavailable())
            self._reached = None

    def _end_all(self, why: PaycoreError) -> None:
        for subscription in [
            *self._joining,
            *(one for all_ in self._joined.values() for one in all_),
        ]:
            subscription.end(why)
        self._joining.clear()
        self._joined.clear()


def history_replaced(epoch: int) -> PaycoreError:
    """The refusal of what was made in another epoch of the ledger."""
    return PaycoreError(
        Reason.HISTORY_REPLACED,
        "the ledger was replaced since: start again from what it says now",
        {"epoch": str(epoch)},
    )


def _unavailable() -> PaycoreError:
    return PaycoreError(
        Reason.DATABASE_UNAVAILABLE, "the journal cannot be followed", retry_after_ms=1_000
    )
