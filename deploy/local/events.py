"""What the supervisor tells whoever watches it: a terminal, a log, a test."""

import enum
import logging
from typing import Protocol

logger = logging.getLogger("deploy.local")


class PartState(enum.StrEnum):
    """Where a part stands."""

    WAITING = "waiting"
    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Observer(Protocol):
    """Called from the supervisor's threads: implementations must be thread-safe and quick."""

    def state(self, part: str, state: PartState, detail: str) -> None:
        """A part changed its state."""

    def progress(self, part: str, what: str, done: int, total: int) -> None:
        """A long preparation of a part advanced: bytes done of bytes in all."""

    def warning(self, text: str) -> None:
        """Something a person should see: a part died, leftovers were stopped."""


class LogObserver:
    """Writes to the standard log; what embedding programs and tests get."""

    def state(self, part: str, state: PartState, detail: str) -> None:
        logger.info("%s: %s %s", part, state, detail)

    def progress(self, part: str, what: str, done: int, total: int) -> None:
        logger.debug("%s: %s %d of %d bytes", part, what, done, total)

    def warning(self, text: str) -> None:
        logger.warning("%s", text)
