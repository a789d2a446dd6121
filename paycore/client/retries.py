"""When to try again, for how long, and how long to pause: decisions without I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from paycore.client.errors import (
    ClientError,
    RefusedError,
    is_final,
    is_retryable,
    may_have_been_done,
)

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0
LEAST_ATTEMPT_S = 0.1
LEAST_SHARE = 0.1
"""No attempt is begun with less time than the smaller of the two: seconds, share of the total."""


class Patience(Enum):
    """How long an answer may take."""

    ORDINARY = auto()
    STEP_UP = auto()
    """Checking a PIN is slow on purpose, and checks wait for each other."""
    BULK = auto()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds in seconds: one for an attempt of each sort, one for all attempts and pauses."""

    ordinary_s: float = 0.5
    step_up_s: float = 3.0
    bulk_s: float = 5.0
    total_s: float = 10.0

    def attempt_s(self, patience: Patience) -> float:
        """The bound on one attempt."""
        match patience:
            case Patience.ORDINARY:
                return self.ordinary_s
            case Patience.STEP_UP:
                return self.step_up_s
            case Patience.BULK:
                return self.bulk_s


class Attempts:
    """The attempts of one call, which end within `timeouts.total_s` of its making."""

    def __init__(
        self,
        timeouts: Timeouts,
        patience: Patience,
        monotonic_s: Callable[[], float],
        random: Callable[[], float],
        *,
        repeatable: bool = True,
    ) -> None:
        """`random` gives numbers in [0, 1)."""
        self._monotonic_s = monotonic_s
        self._random = random
        self._repeatable = repeatable
        self._attempt_s = timeouts.attempt_s(patience)
        self._end_s = monotonic_s() + timeouts.total_s
        self._least_s = min(LEAST_ATTEMPT_S, timeouts.total_s * LEAST_SHARE)
        self._failures = 0
        self._unknown = False

    def timeout_s(self) -> float:
        """How long the next attempt may take; above zero."""
        # A pause that would not leave time for an attempt was refused, but clocks go on.
        return max(min(self._attempt_s, self.remaining_s()), 0.001)

    def remaining_s(self) -> float:
        """What is left of the total."""
        return self._end_s - self._monotonic_s()

    def pause_s(self, failure: ClientError) -> float:
        """How long to wait before the next attempt. Raises `failure` when there is to be none."""
        pause_s = self.pause_or_none_s(failure)
        if pause_s is None:
            raise failure
        return pause_s

    def pause_or_none_s(self, failure: ClientError) -> float | None:
        """How long to wait before the next attempt, or None when there is to be none."""
        self._failures += 1
        self._unknown |= may_have_been_done(failure)
        failure.attempts = self._failures
        failure.outcome_unknown = self._unknown and not is_final(failure)
        if not is_retryable(failure, repeatable=self._repeatable):
            return None
        pause_s = self._jittered_s(failure)
        # A sliver of time would only put its own time-out in the place of what is known.
        if self._monotonic_s() + pause_s + self._least_s >= self._end_s:
            return None
        return pause_s

    def _jittered_s(self, failure: ClientError) -> float:
        backoff_s = min(FIRST_PAUSE_S * (1 << min(self._failures - 1, 10)), LONGEST_PAUSE_S)
        jittered_s = backoff_s * (0.5 + self._random() / 2)
        asked_ms = failure.retry_after_ms if isinstance(failure, RefusedError) else None
        if asked_ms is None:
            return jittered_s
        # Never earlier than asked, and not all callers at that very moment.
        return max(asked_ms / 1_000 * (1 + self._random() / 4), jittered_s)
