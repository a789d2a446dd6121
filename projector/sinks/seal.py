"""The hash chain over the journal as a sink: a seal for each stretch that it takes.

A seal and the checkpoint are one transaction, on the connection that holds the lock; and the table
takes a seal only behind the one that it names. So nothing that ends a session, or leads beside it,
leaves a gap, a fork or a row that is sealed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import asyncpg

import database
from paycore.domain.chain import Seal, SealedRow, next_seal
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from projector.batch import Batch
from projector.checkpoint import Checkpoints
from projector.digests import Digester
from projector.errors import ChainCutError, EpochChangedError
from projector.metrics import LAG_SECONDS, SEAL, SEALED_ROWS
from projector.sinks import Rejection, Session

NAME = "seal"


class SealSink:
    """The chain of one ledger, for one session."""

    name = NAME

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queries: Any = database.load("chain")
        self._session: Session | None = None
        self._last: Seal | None = None
        self._lag = LAG_SECONDS.labels(NAME)

    def decoder(self, connection: asyncpg.Connection) -> Digester:
        """Hashes rows of the journal."""
        return Digester(connection)

    async def start(self, session: Session) -> Position:
        """Find the chain's end; returns up to where the journal is sealed.

        In another epoch the chain goes on behind its end, for the journal does. Raises
        ChainCutError where the checkpoint says that more was sealed, and EpochChangedError where
        the chain is of a later epoch than the ledger.
        """
        self._session = session
        row = await self._queries.last_seal(session.connection)
        self._last = None if row is None else Seal(**row)
        checkpoint = await Checkpoints(session.connection, NAME).load()
        if self._last is None:
            end, number = (0, 0), 0
        else:
            end, number = self._last.last, self._last.number
            if self._last.epoch > session.epoch:
                raise EpochChangedError(
                    f"seal {number} is of epoch {self._last.epoch}, and the ledger in"
                    f" {session.epoch}"
                )
        if checkpoint.epoch == session.epoch and checkpoint[1:] > end:
            raise ChainCutError(
                f"seal {number} ends before {checkpoint[1:]}, up to where all was sealed: seals"
                " are gone (see docs/seal.md)"
            )
        SEAL.labels(NAME).set(number)
        return Position(session.epoch, *end)

    async def accept(self, batch: Batch[SealedRow]) -> Sequence[Rejection]:
        """Seal what is new in `batch`. Raises what asyncpg raises where another leader sealed."""
        assert self._session is not None
        end = (0, 0) if self._last is None else self._last.last
        rows = [row for row in batch.items if (row.xid, row.journal_id) > end]
        if not rows:
            return ()
        seal = next_seal(self._last, rows, epoch=self._session.epoch, now_us=self._clock.now_us())
        connection = self._session.connection
        async with connection.transaction():
            await self._queries.add_seal(connection, **asdict(seal))
            await Checkpoints(connection, NAME).save(batch.position)
        # Without the digests, of which the next seal needs none.
        self._last = replace(seal, digests=b"")
        SEAL.labels(NAME).set(seal.number)
        SEALED_ROWS.labels(NAME).inc(len(rows))
        now_us = self._clock.now_us()
        for written_us in batch.written_us:
            self._lag.observe(max(0, now_us - written_us) / 1e6)
        return ()

    async def tend(self, position: Position) -> None:
        """Nothing is done beside the feed."""

    async def stop(self) -> None:
        """Nothing was taken."""
