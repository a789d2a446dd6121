"""Unique, time-ordered 63-bit ids (Snowflakes) under a leased instance number."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from math import nan

import asyncpg
import structlog
from snowflake import SnowflakeGenerator

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import Clock
from paycore.runtime.database import DISCONNECTED
from paycore.runtime.id_lease_metrics import FAILED, INSTANCE, REMAINING, Unrenewed
from paycore.runtime.id_numbers import LEASE_S, SAFETY_S, Numbers
from paycore.runtime.untold import in_background

EPOCH_MS = 1_735_689_600_000
"""2025-01-01T00:00:00Z: ids last until 2094."""

RENEW_EVERY_S = 5.0

AHEAD_MS = int(LEASE_S * 1_000)
"""How far ids may come between two renewals: longer than a lease lasts, in milliseconds."""

WAITED_OUT_MS = 1_000
"""A step back of the clock by no more than this is waited out; past it another number is leased."""

MAX_WAIT_S = 2.0
"""How long one call waits for ids (sequence used up, clock stepped, number leased), in seconds."""

AGAIN_AFTER_S = 1.0
"""How long after a renewal, or a look for a number, that failed the next one comes, in seconds."""

log = structlog.get_logger()


def created_at_ms(snowflake: int) -> int:
    """Milliseconds since 1970 at which `snowflake` was made."""
    return (snowflake >> 22) + EPOCH_MS


def first_id_at(time_us: int) -> int:
    """The lowest id that can be made from that time on, within the range of ids: 0 to 2^63 - 1."""
    return min(max(0, time_us // 1_000 - EPOCH_MS) << 22, 2**63 - 1)


@dataclass(slots=True)
class _Term:
    """An instance number that is ours, for how long surely, and how far its ids may come."""

    generator: SnowflakeGenerator
    instance: int
    until_s: float
    below: int
    """No id from this one on may be issued: no row tells others of it."""
    issued_ms: int
    """How far its ids have come."""


class IdSource:
    """Issues ids while its lease of an instance number is certain, and refuses otherwise.

    No id comes twice, whatever the clocks of this and other processes do, and whoever had the
    number before: up to when ids may be issued is written down first, and a number is leased only
    where that lies behind. A clock that steps back makes it lease another number (docs/adr/0045).
    """

    def __init__(self, dsn: str, clock: Clock, application: str) -> None:
        """`application` is the name under which the database's sessions show it."""
        self._clock = clock
        self._numbers = Numbers(dsn, application)
        self._term: _Term | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._stranded: PaycoreError | None = None
        INSTANCE.set_function(self._instance_shown)
        REMAINING.set_function(self._remaining_s)

    async def start(self) -> None:
        """Lease an instance number and keep renewing it.

        Raises PaycoreError OVERLOADED when there is none for this clock, or what asyncpg raises.
        """
        await self._numbers.open()
        try:
            await self._lease()
        except BaseException:
            await self._numbers.close()
            raise
        self._renewal = in_background(self._keep_renewing(), "id-lease")

    async def stop(self) -> None:
        """Stop issuing and give the instance number back."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        await self._give_back()
        await self._numbers.close()

    @property
    def instance(self) -> int | None:
        """The leased instance number, or None when there is none."""
        return None if self._term is None else self._term.instance

    @property
    def stranded(self) -> PaycoreError | None:
        """Why there can be no ids before clocks or other processes have moved; None where there
        can. A database that is away is no reason."""
        return self._stranded

    def _instance_shown(self) -> float:
        instance = self.instance
        return nan if instance is None else instance

    def _remaining_s(self) -> float:
        term = self._term
        return 0.0 if term is None else max(0.0, term.until_s - self._clock.monotonic_s())

    async def take(self, count: int) -> list[int]:
        """`count` new ids, rising.

        Waits when a millisecond's sequence is used up or the clock was stepped. Raises PaycoreError
        DATABASE_UNAVAILABLE when the lease is lost, when no number is left for this clock, or when
        the wait passes MAX_WAIT_S.
        """
        ids: list[int] = []
        source: SnowflakeGenerator | None = None
        give_up_s = self._clock.monotonic_s() + MAX_WAIT_S
        while True:
            if self._stranded is not None:
                raise _refusal(self._stranded.message)
            term = self._term
            if term is None:
                leased = self._wanted.is_set()
            else:
                leased = self._clock.monotonic_s() < term.until_s
            if not leased:
                raise _refusal("the lease of an id range could not be renewed")
            if term is not None:
                if term.generator is not source:
                    # Of another number they might lie behind what is here already.
                    ids, source = [], term.generator
                if self._issue(term, count, ids):
                    return ids
            if self._clock.monotonic_s() >= give_up_s:
                raise _refusal("the clock was stepped: no ids can be issued")
            await asyncio.sleep(0.0005)

    def _issue(self, term: _Term, count: int, ids: list[int]) -> bool:
        """Whether `ids` has `count` of them now."""
        now_ms = self._clock.now_us() // 1_000
        if now_ms >= created_at_ms(term.below) or term.issued_ms - now_ms > WAITED_OUT_MS:
            # Stepped: as far ahead as nobody was told of yet, or back behind what is issued.
            self._wanted.set()
            return False
        while len(ids) < count:
            # None: this millisecond's 4,096 are used up, or the clock was stepped back a little.
            issued = next(term.generator)
            if issued is None:
                break
            if issued >= term.below:
                # The clock was stepped just now; the generator has gone as far.
                term.issued_ms = created_at_ms(issued)
                break
            ids.append(issued)
        if ids:
            term.issued_ms = max(term.issued_ms, created_at_ms(ids[-1]))
        return len(ids) == count

    async def _lease(self) -> None:
        asked_s, now_ms = self._clock.monotonic_s(), self._clock.now_us() // 1_000
        try:
            if now_ms <= EPOCH_MS:
                raise PaycoreError(Reason.OVERLOADED, "the clock is at a time before 2025")
            number = await self._numbers.lease(now_ms, now_ms + AHEAD_MS)
        except PaycoreError as error:
            self._stranded = error
            raise
        try:
            # Of no time before the one that was told, though the clock be stepped back by now. A
            # former holder of the number stopped SAFETY_S before its lease ended.
            generator = SnowflakeGenerator(number, epoch=EPOCH_MS, timestamp=now_ms)
        except ValueError:
            await self._numbers.give_back(number, now_ms)
            raise
        self._term = _Term(
            generator,
            number,
            asked_s + LEASE_S - SAFETY_S,
            first_id_at((now_ms + AHEAD_MS) * 1_000),
            now_ms,
        )
        self._stranded = None
        log.info("id instance leased", instance=number)

    async def _renew(self, term: _Term) -> None:
        asked_s, now_ms = self._clock.monotonic_s(), self._clock.now_us() // 1_000
        until_ms = await self._numbers.renew(term.instance, now_ms + AHEAD_MS)
        if until_ms is None:
            self._term = None
            FAILED.labels(Unrenewed.LOST).inc()
            self._wanted.set()
            log.error("id lease lost to another process", instance=term.instance)
            await self._lease()
        else:
            term.until_s = asked_s + LEASE_S - SAFETY_S
            term.below = first_id_at(until_ms * 1_000)

    async def _give_back(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            await self._numbers.give_back(term.instance, term.issued_ms)

    async def _keep_renewing(self) -> None:
        while True:
            await self._until_due()
            failed = True
            try:
                await self._see_to_it()
                failed = False
            except PaycoreError as error:
                FAILED.labels(Unrenewed.REFUSED).inc()
                log.error("no id instance number", why=error.message)
            except (*DISCONNECTED, asyncpg.PostgresError) as error:
                away = isinstance(error, DISCONNECTED)
                FAILED.labels(Unrenewed.UNREACHABLE if away else Unrenewed.REFUSED).inc()
                log.warning("id lease not renewed", error=type(error).__name__)
            except Exception as error:
                FAILED.labels(Unrenewed.FAULT).inc()
                # Ids stop when the lease ends, and come again with the first renewal that works.
                log.exception("id lease not renewed", error=type(error).__name__)
            self._wanted.clear()
            if failed:
                # Whoever waits for ids does not hurry what has just failed.
                await asyncio.sleep(min(AGAIN_AFTER_S, RENEW_EVERY_S))

    async def _until_due(self) -> None:
        if self._term is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(RENEW_EVERY_S):
                await self._wanted.wait()

    async def _see_to_it(self) -> None:
        term = self._term
        behind_ms = 0 if term is None else term.issued_ms - self._clock.now_us() // 1_000
        if term is not None and behind_ms <= WAITED_OUT_MS:
            await self._renew(term)
            return
        # For whom waits for ids meanwhile.
        self._wanted.set()
        if term is not None:
            log.error("the clock was stepped back", by_ms=behind_ms, instance=term.instance)
            await self._give_back()
        await self._lease()


def _refusal(why: str) -> PaycoreError:
    return PaycoreError(Reason.DATABASE_UNAVAILABLE, why)
