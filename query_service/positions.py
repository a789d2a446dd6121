"""How far the index is, and waiting until it is far enough.

One poller a process reads the position that the projector stored after its last refresh; calls
that carry a `min_position` wait for it together.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

import structlog

from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.domain.position import Position
from paycore.runtime.clock import Clock

IDLE_INTERVAL_S = 0.5
"""Between two readings while nobody waits."""

BUSY_INTERVAL_S = 0.01
"""Between two readings while calls wait."""

READ_TIMEOUT_S = 1.0

QUERY_MARGIN_S = 0.1
QUERY_MARGIN_SHARE = 0.1
"""What waiting leaves of a call's time for the query itself and the way back: the larger of the
two.
"""

MAX_WAITING = 1_000

TRUSTED_FOR_S = 60.0
"""How long it is known from which time on the index has everything, after that was last read. What
is told to be gone stays for longer (PAYCORE_PROJECTOR_INDEX_GRACE_S)."""

log = structlog.get_logger()


class IndexPosition(NamedTuple):
    """Everything up to `position` is searchable; it was so of the ledger at `source_time_us`.

    The time is None while the index holds nothing of the journal yet. Transfers from `from_us` on
    are there, of those before retention may have dropped some.
    """

    position: Position
    source_time_us: int | None
    from_us: int = 0


class PositionSource(Protocol):
    """Where the index's position is stored."""

    async def read_position(self, deadline_s: float) -> IndexPosition | None:
        """The stored position, None while there is none.

        Raises PaycoreError INDEX_UNAVAILABLE when there is no answer by `deadline_s`.
        """
        ...


class PositionTracker:
    """The index's position as last read. `run` must run for it to move."""

    def __init__(self, source: PositionSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._waiting: dict[asyncio.Future[None], Position] = {}
        self._wanted = asyncio.Event()
        self._answering = True
        self._answered_s: float | None = None
        self.seen: IndexPosition | None = None

    @property
    def waiting(self) -> int:
        """How many calls wait now."""
        return len(self._waiting)

    def from_us(self) -> int | None:
        """From which time on every transfer is in the index, 0 for all; None where that is not
        known now."""
        answered_s = self._answered_s
        if answered_s is None or self._clock.monotonic_s() - answered_s > TRUSTED_FOR_S:
            return None
        return self.seen_from_us

    @property
    def seen_from_us(self) -> int:
        """As `from_us`, by what was seen last, however long ago."""
        return 0 if self.seen is None else self.seen.from_us

    def lag_us(self) -> int | None:
        """Age of the position seen, in microseconds: an upper bound of the index's lag."""
        if self.seen is None or self.seen.source_time_us is None:
            return None
        return max(0, self._clock.now_us() - self.seen.source_time_us)

    async def reach(
        self, wanted: Position, deadline_s: float, patience_s: float | None = None
    ) -> None:
        """Return once everything up to `wanted` is searchable.

        Raises PaycoreError: INDEX_BEHIND when that is not so shortly before `deadline_s`, or after
        `patience_s` seconds,
        INDEX_UNAVAILABLE when the index cannot tell, OVERLOADED when too many wait,
        INVALID_FIELD when `wanted` is of an earlier epoch than the index.
        """
        if self._has_reached(wanted):
            return
        if len(self._waiting) >= MAX_WAITING:
            raise PaycoreError(Reason.OVERLOADED, "too many calls wait for the index")
        arrival = asyncio.get_running_loop().create_future()
        self._waiting[arrival] = wanted
        self._wanted.set()
        try:
            remaining_s = deadline_s - self._clock.monotonic_s()
            margin_s = max(QUERY_MARGIN_S, remaining_s * QUERY_MARGIN_SHARE)
            wait_s = remaining_s - margin_s
            if patience_s is not None:
                wait_s = min(wait_s, patience_s)
            async with asyncio.timeout(max(0.0, wait_s)):
                await arrival
        except TimeoutError:
            raise self._behind() from None
        finally:
            del self._waiting[arrival]

    async def run(self) -> None:
        """Read the position again and again, at once when a call begins to wait."""
        while True:
            await self.poll()
            await asyncio.sleep(BUSY_INTERVAL_S)
            if self._waiting:
                continue
            self._wanted.clear()
            try:
                async with asyncio.timeout(IDLE_INTERVAL_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def poll(self) -> bool:
        """Read once and tell those who wait; returns whether the index answered."""
        asked_s = self._clock.monotonic_s()
        try:
            self.seen = await self._source.read_position(asked_s + READ_TIMEOUT_S)
        except PaycoreError as error:
            if self._answering:
                log.warning("index position cannot be read", reason=error.reason.value)
            self._answering = False
            self._fail_waiting(error)
            return False
        if not self._answering:
            log.info("index position can be read again")
        self._answering = True
        self._answered_s = asked_s
        self._tell_waiting()
        return True

    async def probe(self) -> None:
        """Read the position once. Raises PaycoreError INDEX_UNAVAILABLE."""
        await self._source.read_position(self._clock.monotonic_s() + READ_TIMEOUT_S)

    def _has_reached(self, wanted: Position) -> bool:
        if self.seen is None:
            return False
        if wanted.epoch < self.seen.position.epoch:
            # What was written in a replaced history may never have reached this one.
            raise invalid_field("min_position", "is of a history that has been replaced")
        return wanted.epoch == self.seen.position.epoch and wanted <= self.seen.position

    def _tell_waiting(self) -> None:
        for arrival, wanted in self._waiting.items():
            if arrival.done():
                continue
            try:
                if self._has_reached(wanted):
                    arrival.set_result(None)
            except PaycoreError as error:
                arrival.set_exception(error)

    def _fail_waiting(self, error: PaycoreError) -> None:
        for arrival in self._waiting:
            if not arrival.done():
                # Each waiter raises an exception of its own: tracebacks grow on shared ones.
                arrival.set_exception(
                    PaycoreError(error.reason, error.message, retry_after_ms=error.retry_after_ms)
                )

    def _behind(self) -> PaycoreError:
        metadata = {} if self.seen is None else {"position": self.seen.position.encode()}
        return PaycoreError(
            Reason.INDEX_BEHIND, "the index has not reached min_position yet", metadata
        )
