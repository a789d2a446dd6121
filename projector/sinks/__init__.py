"""The port behind which the sinks stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from paycore.domain.position import Position
from projector.batch import Batch, Document, DocumentKind


class Rejection(NamedTuple):
    """A document that the sink will never take, and why. No field's value stands in `reason`."""

    kind: DocumentKind
    id: int
    version: int
    error_type: str
    reason: str


class Sink(Protocol):
    """Takes batches in journal order, at least once each, and drops what it already has.

    A sink waits out what passes by itself: outages, overload. What it raises ends the session; a
    new one begins at the checkpoint.
    """

    @property
    def name(self) -> str:
        """The key of its checkpoint and its lock."""
        ...

    async def start(self, epoch: int) -> Position:
        """Make ready; returns up to where its readers see the journal, (epoch, 0, 0) when empty.

        Raises EpochChangedError when it was filled from another epoch.
        """
        ...

    async def accept(self, batch: Batch) -> Sequence[Rejection]:
        """Take a batch for good; returns what it never will. Batches without documents keep time.

        Raises SinkLostError when what it had taken is gone.
        """
        ...

    async def rewrite(self, documents: Sequence[Document]) -> Sequence[Rejection]:
        """Take documents in the place of copies of the same version too; returns what it never
        will. They are told with the next batch. Raises as `accept`."""
        ...

    async def stop(self) -> None:
        """Give back what `start` took."""
        ...
