"""Values kept for a while, the least recently used of too many dropped."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from paycore.runtime.clock import Clock

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """At most `most` values, each for `lifetime_s` seconds from when it was kept."""

    def __init__(self, most: int, lifetime_s: float, clock: Clock) -> None:
        self._most = most
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._values: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """The value of `key`, if it is kept and not too old."""
        entry = self._values.get(key)
        if entry is None:
            return None
        value, until_s = entry
        if self._clock.monotonic_s() >= until_s:
            del self._values[key]
            return None
        self._values.move_to_end(key)
        return value

    def keep(self, key: K, value: V) -> None:
        """Keep `value` from now on, in the place of what was kept."""
        self._values[key] = value, self._clock.monotonic_s() + self._lifetime_s
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)

    def forget(self, key: K) -> None:
        """Keep nothing of `key`."""
        self._values.pop(key, None)
