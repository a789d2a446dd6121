"""Seals a ledger's journal as the projector does, in this process and to its end."""

from __future__ import annotations

from functools import partial

from paycore.runtime.clock import SystemClock
from projector.checkpoint import Checkpoints
from projector.dead_letters import DeadLetters
from projector.leadership import connection
from projector.sinks import Session
from projector.sinks.seal import NAME, SealSink
from projector.source import JournalSource


async def seal_journal(dsn: str, *, entries: int = 4_000) -> int:
    """Seal all that is complete, in seals of about `entries`; returns how many were made.

    `dsn` is that of role paycore_projector. No lock is held.
    """
    clock = SystemClock()
    async with connection(dsn, "test") as held, connection(dsn, "test") as reading:
        sink = SealSink(clock)
        epoch = await Checkpoints(held, NAME).epoch()
        session = Session(
            epoch, held, DeadLetters(held, NAME, limit=0), partial(connection, dsn, "test")
        )
        position = await sink.start(session)
        source = JournalSource(
            reading, sink.decoder(reading), clock, sink=NAME, epoch=epoch, page_entries=entries
        )
        made = 0
        while (batch := await source.read(position)).items:
            await sink.accept(batch)
            position = batch.position
            made += 1
        return made
