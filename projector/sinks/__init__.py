"""The port behind which the sinks stand.

The journal is read once for each sink, and each decides what it wants of it:

    source (journal rows) > the sink's decoder (rows to items) > the sink

A feed runs each sink in a session of its own: its connections, lock, checkpoint, dead letters,
backoff, readiness and metrics (label `sink`) are nobody else's, so that a sink which waits or fails
delays no other.

To add a sink:

1. A class that satisfies `Sink`, in a module of this package. What it takes is its own affair: it
   names a decoder (`projector.loader.Loader` makes documents for a search index, and
   `projector.journal_rows.RowDecoder` gives the journal's rows with the rows that they name), or
   brings one of its own (`Decoder`).
2. Delivery is at least once: drop what is there already, by an id or a version or by the positions
   of what was taken. A sink whose state is in PostgreSQL writes it on `Session.connection`, which
   holds the lock: who lost the lock can write nothing there.
3. Wait out what passes by itself (`projector.persistence.Persistence`), return what will never be
   taken as `Rejection`s, and raise for the rest: the session ends, and a new one begins at the
   checkpoint. No field's value stands in an exception's text or in a reason.
4. Its settings in `projector.settings`, and an entry in `projector.sinks.catalogue`, which says
   whether it is configured. `PAYCORE_PROJECTOR_SINKS` then knows its name, and so do health (the
   service `projector.<name>`), `paycore status`, the metrics and the dead letters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import asyncpg

from paycore.domain.position import Position
from projector.batch import Batch, Decoded, Item, Row
from projector.dead_letters import DeadLetters, Rejection

__all__ = ["Decoder", "Rejection", "Session", "Sink"]

Taken = TypeVar("Taken")


class Decoder(Protocol[Item]):
    """Makes a sink's items of rows of the journal, on a connection that is its own meanwhile."""

    async def decode(self, journal: Sequence[Row]) -> Decoded[Item]:
        """The items of `journal`, in order. Raises LedgerIncompleteError."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """What a sink has while its feed leads."""

    epoch: int
    """The history of the ledger that is followed."""
    connection: asyncpg.Connection
    """Holds the lock. For the sink's own calls: nothing that runs beside them may use it."""
    dead_letters: DeadLetters
    connect: Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]
    """Opens one more connection, for work beside the feed. The lock does not guard it."""


class Sink(Protocol[Taken]):
    """Takes batches in journal order, at least once each, and drops what it already has.

    A sink waits out what passes by itself: outages, overload. What it raises ends the session; a
    new one, with a sink made anew, begins at the checkpoint.
    """

    @property
    def name(self) -> str:
        """The key of its checkpoint and its lock."""
        ...

    def decoder(self, connection: asyncpg.Connection) -> Decoder[Taken]:
        """What makes its items; `connection` is the journal's, read only."""
        ...

    async def start(self, session: Session) -> Position:
        """Make ready; returns up to where its readers see the journal, the beginning when empty. It
        is fed from there, where that is before its checkpoint.

        A sink that was filled from another epoch raises EpochChangedError, or returns the position
        from which it wants to be fed in the new one. One that lost the end of what it had moves its
        checkpoint back, on the session's connection.
        """
        ...

    async def accept(self, batch: Batch[Taken]) -> Sequence[Rejection]:
        """Take a batch for good; returns what it never will. Batches without items keep time.

        Raises SinkLostError when what it had taken is gone.
        """
        ...

    async def tend(self, position: Position) -> None:
        """Do a bounded step of what the sink has to do besides, such as writing items again.

        Called after every batch, of which `position` is the end, once its checkpoint is saved.
        """
        ...

    async def stop(self) -> None:
        """Give back what was taken since it was made; `start` may have failed."""
        ...
