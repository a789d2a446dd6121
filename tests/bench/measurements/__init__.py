"""What is measured, one kind a module."""

from __future__ import annotations

from typing import Protocol

from tests.bench.figures import Sample


class Measurement(Protocol):
    """One row of the table."""

    @property
    def key(self) -> str:
        """Names the row in JSON, as a baseline and for its target."""
        ...

    @property
    def label(self) -> str: ...

    @property
    def unit(self) -> str:
        """What is counted per second; empty where only latency is measured."""
        ...

    @property
    def baseline(self) -> str:
        """Key of the row that this one is compared with, or empty."""
        ...

    async def warm_up(self) -> None:
        """Do a little of it, so that the first repetition is like the others."""
        ...

    async def measure(self) -> Sample:
        """One repetition. Raises BenchError."""
        ...
