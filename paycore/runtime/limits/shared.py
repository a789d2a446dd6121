"""Limits that all processes share through Redis, with a stricter limiter of this process behind.

Calls that wait together share one round trip, and a busy client's process takes some units ahead,
in proportion to the rate: slow limits stay exact, and fast ones do not cost a round trip a call.
A breaker stands before Redis: no call waits for it longer than REPLY_WITHIN_S, and while it is away
or slow, none waits at all.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from paycore.domain.limits import RATES
from paycore.runtime.breaker import Breaker, BreakerState, probe_while_open
from paycore.runtime.clock import Clock
from paycore.runtime.limits.local import LocalLimiter
from paycore.runtime.limits.rate import (
    ADMITTED,
    AHEAD,
    DECISION,
    DECISIONS,
    FALLBACK,
    REDIS,
    REFUSED,
    Charge,
    Excess,
)
from paycore.runtime.limits.script import Asked, GcraScript
from paycore.runtime.together import Together
from paycore.runtime.untold import in_background

REPLY_WITHIN_S = 0.02
"""How long Redis may take before the fallback decides, in seconds."""

GATHER_S = 0.008
"""How long calls wait at most for as many as came together lately, in seconds: a busy process asks
Redis far less often, and an idle one at once."""

TRIPS_AFTER = 2
"""Round trips in a row that fail before Redis is left alone."""

PROBE_EVERY_S = 0.25
"""How often the way to Redis is tried while it is away, in seconds."""

PROBE_WITHIN_S = 0.1
"""How long a probe may take, in seconds: it may have to connect."""

AHEAD_S = 0.01
"""How much of a rate one process takes ahead, in seconds of that rate."""

AHEAD_FOR_S = 0.1
"""How long units taken ahead may be used, in seconds."""

MOST_AHEAD = 10_000
"""Keys of which units are kept ahead; the oldest are given up first."""

MOST_A_ROUND = 500
"""Charges in one round trip, but for a single call that has more: Redis does nothing else
meanwhile."""

MOST_WAITING = 20_000
"""Calls that wait for Redis; beyond them the fallback decides."""

_AWAY = (RedisError, OSError, TimeoutError)

_COUNTERS = {
    (limit.value, decision, by): DECISIONS.labels(limit.value, decision, by)
    for limit in RATES
    for decision in DECISION
    for by in (REDIS, FALLBACK, AHEAD)
}

log = structlog.get_logger()


@dataclass(slots=True)
class _Ahead:
    """Units under one key that Redis has already counted."""

    units: int
    until_s: float


class SharedLimiter:
    """The limiter of a service process. `start` before use, `stop` at the end."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._script = GcraScript(url)
        self._fallback = LocalLimiter(clock)
        self._clock = clock
        self._breaker = Breaker("redis", trips_after=TRIPS_AFTER, state=BreakerState.OPEN)
        self._ahead: dict[str, _Ahead] = {}
        self._together: Together[Sequence[Charge], Excess | None] = Together(
            self._decide_all,
            at_once=MOST_A_ROUND,
            most_waiting=MOST_WAITING,
            gather_s=GATHER_S,
            refusal=_unforeseen,
            weigh=len,
        )
        self._probing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to decide; Redis need not be there yet."""
        probing = probe_while_open(
            self._breaker, self._probe, every_s=PROBE_EVERY_S, within_s=PROBE_WITHIN_S
        )
        self._probing = in_background(probing, "limits-probe")

    async def stop(self) -> None:
        """Stop deciding; calls still waiting are decided by the fallback."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        await self._together.stop(self._decide_here)
        await self._script.close()

    async def decide(self, charges: Sequence[Charge]) -> Excess | None:
        """Take all of `charges`, or none and say which is exceeded. Their keys all differ."""
        decided = self._ask_for(charges)
        return await decided if isinstance(decided, asyncio.Future) else decided

    async def decide_each(self, calls: Sequence[Sequence[Charge]]) -> list[Excess | None]:
        """As `decide`, for each of `calls` by itself."""
        waiting = [self._ask_for(charges) for charges in calls]
        return [
            await decided if isinstance(decided, asyncio.Future) else decided for decided in waiting
        ]

    def _ask_for(self, charges: Sequence[Charge]) -> asyncio.Future[Excess | None] | Excess | None:
        """The decision, now or later."""
        if len(charges) == 1 and self._use_ahead(charges[0]):
            return None
        if self._breaker.state is BreakerState.OPEN or self._together.full:
            return self._decide_here(charges)
        return self._together.put(charges)

    def _use_ahead(self, charge: Charge) -> bool:
        ahead = self._ahead.get(charge.key)
        if ahead is None or ahead.units < charge.cost or ahead.until_s <= self._clock.monotonic_s():
            return False
        ahead.units -= charge.cost
        _COUNTERS[charge.limit, ADMITTED, AHEAD].inc()
        return True

    async def _decide_all(self, calls: Sequence[Sequence[Charge]]) -> list[Excess | None]:
        permit = self._breaker.permit()
        if permit is None:
            return [self._decide_here(charges) for charges in calls]
        try:
            decisions = await self._ask(calls)
        except _AWAY as error:
            log.debug("redis gave no answer", error=type(error).__name__)
        except Exception:
            # Such as a reply of another shape.
            log.exception("redis is of no use")
        else:
            self._breaker.succeeded(permit)
            return decisions
        self._breaker.failed(permit)
        return [self._decide_here(charges) for charges in calls]

    async def _ask(self, calls: Sequence[Sequence[Charge]]) -> list[Excess | None]:
        keys: list[str] = []
        asked: list[list[Asked]] = []
        eager: set[str] = set()
        for charges in calls:
            limits: list[Asked] = []
            alone = len(charges) == 1
            for _, key, rate, cost in charges:
                ahead = 0
                if alone and key not in eager:
                    eager.add(key)
                    ahead = min(int(rate.per_s * AHEAD_S), rate.burst // 10)
                keys.append(key)
                limits.append((rate.interval_us, rate.burst, cost, ahead))
            asked.append(limits)
        figures = await self._script.decide(keys, asked, REPLY_WITHIN_S)
        # All of the reply is looked at before any of it counts.
        decided = [
            (charges, _excess(charges, wait_us, place), int(taken))
            for charges, (wait_us, place, taken) in zip(calls, figures, strict=True)
        ]
        until_s = self._clock.monotonic_s() + AHEAD_FOR_S
        tally: Tally[tuple[str, str]] = Tally()
        for charges, excess, taken in decided:
            if taken:
                self._remember(charges[0].key, _Ahead(taken, until_s))
            _note(tally, charges, excess)
        _count(tally, REDIS)
        return [excess for _, excess, _ in decided]

    def _remember(self, key: str, ahead: _Ahead) -> None:
        self._ahead.pop(key, None)
        self._ahead[key] = ahead
        if len(self._ahead) > MOST_AHEAD:
            del self._ahead[next(iter(self._ahead))]

    def _decide_here(self, charges: Sequence[Charge]) -> Excess | None:
        excess = self._fallback.decide(charges)
        tally: Tally[tuple[str, str]] = Tally()
        _note(tally, charges, excess)
        _count(tally, FALLBACK)
        return excess

    async def _probe(self) -> None:
        await self._script.load(PROBE_WITHIN_S)


def _unforeseen() -> Exception:
    return AssertionError("a limiter that is full decides by itself")


def _excess(charges: Sequence[Charge], wait_us: float, place: float) -> Excess | None:
    """Raises ValueError where a call has no limit at `place`."""
    if place == 0:
        return None
    if place not in range(1, len(charges) + 1):
        raise ValueError(f"no limit at {place}")
    return Excess(charges[int(place) - 1], wait_us)


def _note(tally: Tally[tuple[str, str]], charges: Sequence[Charge], excess: Excess | None) -> None:
    if excess is not None:
        tally[excess.charge.limit, REFUSED] += 1
        return
    for charge in charges:
        tally[charge.limit, ADMITTED] += 1


def _count(tally: Tally[tuple[str, str]], by: str) -> None:
    for (limit, decision), times in tally.items():
        _COUNTERS[limit, decision, by].inc(times)
