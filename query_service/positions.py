"""How far the index is, and waiting until it is far enough.

One poller a process reads the position that the projector stored after its last refresh; calls
that carry a `min_position` wait for it together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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

TOLERANCE_S = 10.0
"""How far behind the ledger the index may be and answer, in seconds, where no setting says so.
While the journal rests the projector tells the time every second."""

RETRY_AFTER_MS = 500

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


class IndexStaleError(PaycoreError):
    """The index is too far behind for an answer, or nobody knows how far it is."""

    def __init__(self, lag_us: int | None, metadata: Mapping[str, str]) -> None:
        """`lag_us` is None where it is not known."""
        how = "is too far behind the ledger" if lag_us is not None else "is not filled yet"
        super().__init__(
            Reason.INDEX_BEHIND, f"the index {how}", metadata, retry_after_ms=RETRY_AFTER_MS
        )
        self.lag_us = lag_us


class PositionSource(Protocol):
    """Where the index's position is stored."""

    async def read_position(self, deadline_s: float) -> IndexPosition | None:
        """The stored position, None while there is none.

        Raises PaycoreError INDEX_UNAVAILABLE when there is no answer by `deadline_s`.
        """
        ...


class PositionTracker:
    """The index's position as last read. `run` must run for it to move."""

    def __init__(
        self, source: PositionSource, clock: Clock, tolerance_s: float = TOLERANCE_S
    ) -> None:
        """An index that is more than `tolerance_s` behind answers nothing."""
        self._source = source
        self._clock = clock
        self._tolerance_s = tolerance_s
        self.asked = asyncio.Event()
        """Set once it was asked how far the index is, whether or not it answered."""
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

    def check_current(self, tolerance_s: float | None = None) -> None:
        """Raise unless the index is known to be at most `tolerance_s` behind the ledger; None: as
        far as it may be at all.

        Raises PaycoreError: IndexStaleError, INDEX_UNAVAILABLE while it does not answer either.
        """
        if tolerance_s is None:
            tolerance_s = self._tolerance_s
        lag_us = self.lag_us()
        if lag_us is None or lag_us > tolerance_s * 1e6:
            raise self._stale(lag_us)

    def check_covers(self, end_us: int) -> None:
        """Raise unless the index has what was before `end_us`, or is as current as it must be.

        Raises PaycoreError as `check_current` does.
        """
        seen_us = None if self.seen is None else self.seen.source_time_us
        if seen_us is None or seen_us < end_us:
            self.check_current()

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
        try:
            return await self._poll()
        finally:
            self.asked.set()

    async def _poll(self) -> bool:
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
        return PaycoreError(
            Reason.INDEX_BEHIND, "the index has not reached min_position yet", self._place()
        )

    def _stale(self, lag_us: int | None) -> PaycoreError:
        if self._answering:
            return IndexStaleError(lag_us, self._place())
        return PaycoreError(
            Reason.INDEX_UNAVAILABLE, "the index does not answer", retry_after_ms=RETRY_AFTER_MS
        )

    def _place(self) -> Mapping[str, str]:
        return {} if self.seen is None else {"position": self.seen.position.encode()}
