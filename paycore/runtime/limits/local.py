"""The limiter that decides while Redis cannot: GCRA in this process's memory, and stricter."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from paycore.domain.limits import US, RateLimit
from paycore.runtime.clock import Clock
from paycore.runtime.limits.rate import Charge, Excess

FALLBACK_SHARE = 0.5
"""Part of a rate, and of its burst, that one process allows on its own."""

MOST_RATES = 1_000
"""Rates whose part is remembered; a configuration has fewer, and only its changes add to them."""

MOST_KEYS = 20_000
"""Keys whose state is remembered; the least recent is forgotten first."""


class LocalLimiter:
    """Knows only the calls of this process, and the last MOST_KEYS of those that made them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals_us: OrderedDict[str, float] = OrderedDict()
        self._parts: dict[RateLimit, RateLimit] = {}

    def decide(self, charges: Sequence[Charge]) -> Excess | None:
        """Take all of `charges`, or none and say which of them must wait longest.

        What is less than the whole burst but more than this process's part of it takes that part,
        so that no call is refused for ever only because Redis is away.
        """
        now_us = self._clock.monotonic_s() * US
        taken: list[tuple[str, float]] = []
        excess: Excess | None = None
        for charge in charges:
            rate = self._part(charge.rate)
            cost = charge.cost if charge.cost > charge.rate.burst else min(charge.cost, rate.burst)
            used_us = max(self._arrivals_us.get(charge.key, now_us) - now_us, 0.0)
            whole_us = rate.burst * rate.interval_us
            if used_us > whole_us:
                # It was used of a slower limit that held before. Kept, so that it comes back from
                # now on also where the call is refused.
                used_us = whole_us
                self._arrivals_us[charge.key] = now_us + used_us
            # In this order no rounding refuses a whole burst to someone who has used none of it.
            early_us = used_us + (cost - rate.burst) * rate.interval_us
            if early_us > 0 and (excess is None or early_us > excess.wait_us):
                excess = Excess(charge, early_us)
            taken.append((charge.key, now_us + used_us + cost * rate.interval_us))
        if excess is None:
            for key, arrival_us in taken:
                self._arrivals_us[key] = arrival_us
                self._arrivals_us.move_to_end(key)
            while len(self._arrivals_us) > MOST_KEYS:
                self._arrivals_us.popitem(last=False)
        return excess

    def _part(self, rate: RateLimit) -> RateLimit:
        part = self._parts.get(rate)
        if part is None:
            if len(self._parts) >= MOST_RATES:
                self._parts.clear()
            part = self._parts[rate] = rate.part(FALLBACK_SHARE)
        return part
