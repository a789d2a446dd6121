"""The generations of a search index, as PostgreSQL remembers them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import asyncpg

import database

PHASES = ("transfers", "declines", "accounts", "check")
"""Of a build, in order."""


class State(StrEnum):
    """What a generation is there for."""

    BUILDING = "BUILDING"
    SERVING = "SERVING"
    RETIRED = "RETIRED"
    """Replaced: dropped after a grace."""
    FAILED = "FAILED"
    """Given up: dropped at once, and kept on record until the next build."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation on record."""

    number: int
    state: State
    epoch: int
    months: frozenset[str]
    """Those whose index was made and not dropped."""
    reason: str
    phase: str = ""
    after_id: int = 0
    documents: int = 0
    expected: int = 0
    switched_s_ago: float | None = None


class Generations:
    """Those of one sink, on a connection that nobody else uses meanwhile."""

    def __init__(self, connection: asyncpg.Connection, sink: str) -> None:
        self._connection = connection
        self._sink = sink
        self._queries: Any = database.load("generations")

    async def load(self) -> list[Generation]:
        """All, the oldest first."""
        rows = await self._queries.list_generations(self._connection, sink=self._sink)
        return [
            Generation(
                number=row["generation"],
                state=State(row["state"]),
                epoch=row["epoch"],
                months=frozenset(row["months"]),
                reason=row["reason"],
                phase=row["phase"],
                after_id=row["after_id"],
                documents=row["documents"],
                expected=row["expected"],
                switched_s_ago=row["switched_s_ago"],
            )
            for row in rows
        ]

    async def add(self, generation: Generation) -> Generation:
        """Put a new one on record; returns it with what a build of it is expected to write."""
        if generation.state is State.BUILDING:
            expected = await self._queries.expected_documents(self._connection)
            generation = replace(generation, phase=PHASES[0], expected=expected or 0)
        await self._queries.add_generation(
            self._connection,
            sink=self._sink,
            generation=generation.number,
            state=generation.state.value,
            epoch=generation.epoch,
            months=sorted(generation.months),
            reason=generation.reason,
            phase=generation.phase,
            expected=generation.expected,
        )
        return generation

    async def note_months(self, number: int, months: Collection[str]) -> None:
        """Record which months have an index."""
        await self._queries.note_months(
            self._connection, sink=self._sink, generation=number, months=sorted(months)
        )

    async def advance(self, number: int, phase: str, after_id: int, documents: int) -> None:
        """Record how far a build is, if it is still wanted."""
        await self._queries.advance_build(
            self._connection,
            sink=self._sink,
            generation=number,
            phase=phase,
            after_id=after_id,
            documents=documents,
        )

    async def switch(self, old: int | None, new: int, epoch: int) -> None:
        """Record that `new` serves in the place of `old`."""
        async with self._connection.transaction():
            if old is not None:
                await self.retire(old, State.RETIRED)
            await self._queries.serve(
                self._connection, sink=self._sink, generation=new, epoch=epoch
            )

    async def retire(self, number: int, state: State) -> None:
        """Record that one is to be dropped: replaced or given up."""
        await self._queries.retire(
            self._connection, sink=self._sink, generation=number, state=state.value
        )

    async def forget(self, number: int) -> None:
        """Take one off the record: its indices are gone."""
        await self._queries.forget_generation(self._connection, sink=self._sink, generation=number)
