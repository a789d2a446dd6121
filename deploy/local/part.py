"""What the supervisor needs to know of a part, and nothing more."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from deploy.local.errors import StartCancelledError
from deploy.local.process import Launch


class NotReadyError(Exception):
    """A probe's answer while a part is still coming up; says what is missing."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """Given to a part while it prepares: where it reports, and when it must give up."""

    progress: Callable[[str, int, int], None]
    """Takes what is being done, bytes done and bytes in all."""
    cancelled: threading.Event

    def check(self) -> None:
        """Raise StartCancelledError once the stack is told to stop."""
        if self.cancelled.is_set():
            raise StartCancelledError("the start was cancelled")


class Part(Protocol):
    """A program that the supervisor runs."""

    @property
    def name(self) -> str: ...

    @property
    def start_timeout_s(self) -> float:
        """From its process's begin until it must be ready."""
        ...

    @property
    def stop_grace_s(self) -> float:
        """From the signal to stop until it is killed."""
        ...

    def prepare(self, preparation: Preparation) -> None:
        """Bring files into place. Idempotent: called before every start, restarts included."""
        ...

    def launch(self) -> Launch:
        """Return how its process is started."""
        ...

    def probe(self) -> None:
        """Ask once, within a second or two, whether it is ready.

        Raises NotReadyError when it is not yet.
        """
        ...
