"""Whether a sink is fed or stood by for, as health checks and metrics see it."""

from __future__ import annotations

import time

import structlog

from projector.metrics import BLOCKED, LEADER

_LOG_AGAIN_S = 10.0

log = structlog.get_logger()


class Readiness:
    """Knows what, if anything, keeps the process from leading or standing by for one sink."""

    def __init__(self, sink: str) -> None:
        self.sink = sink
        self._blocked = BLOCKED.labels(sink)
        self._leader = LEADER.labels(sink)
        self._standing = False
        self._obstacle: str | None = None
        self._since_s = 0.0
        self._logged_s = 0.0
        self._blocked.set(0)
        self._leader.set(0)

    @property
    def ready(self) -> bool:
        """Whether it leads with its sink started, or stands by, and nothing is in its way."""
        return self._standing and self._obstacle is None

    def leading(self) -> None:
        """It leads. Its sink has yet to start: what readers need may not be there."""
        self._standing = False
        self._leader.set(1)

    def started(self) -> None:
        """The sink that it leads has started."""
        self._standing = True

    def standing_by(self) -> None:
        """It stands by for the one that leads."""
        self._standing = True
        self._leader.set(0)

    def not_standing(self) -> None:
        """It neither leads nor stands by."""
        self._standing = False
        self._leader.set(0)

    def obstructed(self, step: str, cause: str) -> None:
        """`step` failed for `cause` and is being tried again."""
        now_s = time.monotonic()
        if self._obstacle is None:
            self._since_s = now_s
            self._blocked.set(1)
        if self._obstacle != step or now_s - self._logged_s >= _LOG_AGAIN_S:
            self._logged_s = now_s
            log.warning(
                "waiting for a dependency",
                sink=self.sink,
                step=step,
                cause=cause,
                for_s=round(now_s - self._since_s, 1),
            )
        self._obstacle = step

    def cleared(self, step: str) -> None:
        """`step` succeeded."""
        if self._obstacle == step:
            self._obstacle = None
            self._blocked.set(0)
            log.info(
                "dependency is back",
                sink=self.sink,
                step=step,
                after_s=round(time.monotonic() - self._since_s, 1),
            )
