"""When the next batch starts: at once for a lone payment, together for a crowd."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

AT_ONCE = -inf


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Bounds of the engine."""

    queue: int = 20_000
    """Commands that may wait, one client's at most half of them; beyond it callers get
    OVERLOADED."""
    spare: float = 0.1
    """Part of the queue that streams leave free of their client's share, for its calls."""
    batch: int = 500
    """Commands in one transaction."""
    in_flight: int = 2
    """Transactions at once, each on its own connection."""
    beside: int = 1
    """Transactions at once beside those: small ones, for clients with little in the queue while
    others flood it."""
    light: int = 16
    """Waiting transfers up to which a client has little."""
    small: int = 100
    """Transfers in one transaction while such clients are being served: what is done at a stretch
    for one batch, the event loop does for nobody else."""
    small_for_s: float = 1.0
    """How long after one was served, in seconds."""
    overlap: int = 100
    """Waiting commands from which on a batch starts beside one in flight: below it, the commands
    are better off in one larger batch a moment later."""
    patience_s: float = 0.02
    """Age of the newest batch in flight, in seconds, at which the next starts beside it anyway: one
    that waits for locks must not hold up payments between other accounts."""
    gather: float = 2.0
    """How long to wait for as many commands as the last batch had, in durations of that batch."""
    gather_s: float = 0.02
    """The same at most, in seconds."""
    scan: int = 1_000
    """Commands of one client that are passed over for a batch, because their accounts are busy."""


class Pacing:
    """Decides from the batch before how long it pays to wait for more commands.

    Callers that wait for their outcomes come back soon after they got them, one by one. Who starts
    with the first of them pays a transaction for one payment while the others queue up behind it.
    """

    def __init__(self, limits: EngineLimits) -> None:
        self._limits = limits
        self._started_s = AT_ONCE
        self._crowd = 0
        self._gather_until_s = AT_ONCE

    def started(self, now_s: float) -> None:
        """A batch was taken at the monotonic time `now_s`, in seconds."""
        self._started_s = now_s

    def finished(self, now_s: float, took_s: float, size: int) -> None:
        """A batch of `size` commands was answered after `took_s` seconds."""
        self._crowd = size
        self._gather_until_s = now_s + min(self._limits.gather * took_s, self._limits.gather_s)

    def hurry(self) -> None:
        """From now on wait for nobody: no more commands are coming."""
        self._limits = replace(self._limits, gather_s=0.0)
        self._gather_until_s = AT_ONCE

    def start_at_s(self, in_flight: int, waiting: int) -> float:
        """From when on a batch may start, as a monotonic time in seconds.

        Infinity where one in flight must end first.
        """
        if in_flight >= self._limits.in_flight:
            return inf
        if waiting >= self._limits.overlap:
            return AT_ONCE
        if in_flight:
            return self._started_s + self._limits.patience_s
        if waiting >= self._crowd:
            return AT_ONCE
        return self._gather_until_s
