"""A circuit breaker: when another part stops answering, nobody waits for it until it does again.

Closed, every call goes through. After some failures in a row it opens and none does; probes ask
whether the part is back. When one says so it is half open, and one call at a time goes through on
trial: the first that succeeds closes the breaker, the first that fails opens it again. (M. Nygard,
"Release It!", chapter on stability patterns.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import IntEnum

import structlog

from paycore.runtime.metric_definitions import counter, gauge

BREAKERS = ("redis", "signing", "index")
"""Their names, over all processes."""

STATE = gauge(
    "paycore_breaker_state",
    "0 while closed, 1 while half open, 2 while open.",
    unit="state",
    labels={"breaker": BREAKERS},
)
CHANGES = counter(
    "paycore_breaker_changes_total",
    "Changes of a breaker's state.",
    unit="changes",
    labels={"breaker": BREAKERS, "to": ("closed", "half_open", "open")},
    at_zero=False,
)

log = structlog.get_logger()


class BreakerState(IntEnum):
    """Its value is that of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """The state of the way to one part. Calls take a permit and say what became of them."""

    def __init__(
        self, name: str, *, trips_after: int, state: BreakerState = BreakerState.CLOSED
    ) -> None:
        """`trips_after` is how many calls in a row must fail for it to open."""
        self._name = name
        self._trips_after = trips_after
        self._failures = 0
        self._state = state
        self._turn = 0
        self._on_trial = False
        self._opened = asyncio.Event()
        if state is BreakerState.OPEN:
            self._opened.set()
        STATE.labels(name).set(state)

    @property
    def state(self) -> BreakerState:
        """Where it stands."""
        return self._state

    def permit(self) -> int | None:
        """A permit to make one call, to be given back by one of the next three; None: refused."""
        if self._state is BreakerState.CLOSED:
            return self._turn
        if self._state is BreakerState.HALF_OPEN and not self._on_trial:
            self._on_trial = True
            return self._turn
        return None

    def succeeded(self, permit: int) -> None:
        """The part answered."""
        if permit != self._turn:
            # Begun before the state changed: it says nothing about the part as it is now.
            return
        self._failures = 0
        if self._state is BreakerState.HALF_OPEN:
            self._become(BreakerState.CLOSED)

    def failed(self, permit: int) -> None:
        """The part did not answer."""
        if permit != self._turn:
            return
        self._failures += 1
        if self._state is BreakerState.HALF_OPEN or self._failures >= self._trips_after:
            self._become(BreakerState.OPEN)

    def unknown(self, permit: int) -> None:
        """The call ended in a way that says nothing about the part, as when its caller left."""
        if permit == self._turn:
            self._on_trial = False

    def probed(self) -> None:
        """A probe was answered: calls may be tried."""
        if self._state is BreakerState.OPEN:
            self._become(BreakerState.HALF_OPEN)

    async def until_open(self) -> None:
        """Wait while it is closed or half open."""
        await self._opened.wait()

    def _become(self, state: BreakerState) -> None:
        self._state = state
        self._turn += 1
        self._failures = 0
        self._on_trial = False
        if state is BreakerState.OPEN:
            self._opened.set()
        else:
            self._opened.clear()
        STATE.labels(self._name).set(state)
        CHANGES.labels(self._name, state.name.lower()).inc()
        log.warning("breaker changed", breaker=self._name, to=state.name.lower())


async def probe_while_open(
    breaker: Breaker,
    probe: Callable[[], Awaitable[None]],
    *,
    every_s: float,
    within_s: float,
) -> None:
    """Ask for ever, while `breaker` is open, whether its part is back: at once when this begins,
    and from then on `every_s` seconds after the last failure.

    `probe` raises whatever it likes unless the part answers; it gets `within_s` seconds.
    """
    probing = asyncio.current_task()
    # A library that connects may keep the cancellation to itself: who cancels waits for the end.
    while probing is None or not probing.cancelling():
        await breaker.until_open()
        try:
            async with asyncio.timeout(within_s):
                await probe()
        except Exception as error:
            log.debug("still away", error=type(error).__name__)
        else:
            breaker.probed()
        await asyncio.sleep(every_s)
