"""How many may watch at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from paycore.domain.errors import PaycoreError, Reason
from query_service.watching import metrics

RETRY_AFTER_MS = 2_000


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """Bounds on the watches of a process."""

    watchers: int = 4_000
    of_a_client: int = 2_000


class Watchers:
    """Counts those who watch."""

    def __init__(self, limits: WatchLimits) -> None:
        self._limits = limits
        self._by_client: Counter[str] = Counter()

    @contextmanager
    def admitted(self, client: str) -> Iterator[None]:
        """A place for one more of `client`. Raises PaycoreError OVERLOADED where there is none."""
        if self._by_client.total() >= self._limits.watchers:
            raise _full("watchers", self._limits.watchers)
        if self._by_client[client] >= self._limits.of_a_client:
            raise _full("watchers_of_a_client", self._limits.of_a_client)
        self._by_client[client] += 1
        metrics.WATCHERS.inc()
        try:
            yield
        finally:
            metrics.WATCHERS.dec()
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]


def _full(limit: str, most: int) -> PaycoreError:
    return PaycoreError(
        Reason.OVERLOADED,
        f"no more than {most} may watch here",
        {"limit": limit, "most": str(most)},
        retry_after_ms=RETRY_AFTER_MS,
    )
