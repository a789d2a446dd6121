"""How long ago the journal is complete, told from the snapshots that the polls took."""

from __future__ import annotations

from collections import deque

_SPACING_US = 10_000
"""Observations closer together than this are not kept apart."""

_KEPT = 4_096
"""Bound on observations; beyond it the answer errs towards older, never newer."""


class Watermark:
    """Turns a snapshot's xmin into the time up to which the journal is complete.

    A transaction id below the xmax of an earlier snapshot was handed out before that snapshot. Once
    xmin has passed that xmax, all of them have ended, and what they wrote is readable.
    """

    def __init__(self) -> None:
        self._observed: deque[tuple[int, int]] = deque(maxlen=_KEPT)
        self._complete_until_us: int | None = None

    def observe(self, now_us: int, xmin: int, xmax: int) -> int:
        """The time up to which all is readable, in microseconds.

        `now_us` must have been read before the snapshot was taken. Until a first transaction is
        known to have ended, the time of the first observation is all that can be said.
        """
        if self._complete_until_us is None:
            self._complete_until_us = now_us
        if xmin == xmax:
            self._observed.clear()
            self._complete_until_us = now_us
            return now_us
        while self._observed and self._observed[0][1] <= xmin:
            self._complete_until_us = self._observed.popleft()[0]
        if not self._observed or now_us - self._observed[-1][0] >= _SPACING_US:
            self._observed.append((now_us, xmax))
        return self._complete_until_us
