"""What a verification covers: the whole ledger, or what was written since an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg

from operations.errors import UsageError
from paycore.domain.position import Position

LOWEST = -(2**63)
HIGHEST = 2**63 - 1

SETTLED_AFTER_US = 60_000_000
"""Longer than a posting transaction can last: nothing is recorded that far back any more."""


Snapshot = tuple[int, int, tuple[int, ...]]
"""A pg_snapshot: all transactions below the first number had ended, none from the second on, and of
those between not the ones listed."""


@dataclass(frozen=True, slots=True)
class Last:
    """Since the last verification that found the ledger whole."""


@dataclass(frozen=True, slots=True)
class After:
    """Since a position up to which the caller vouches for the ledger."""

    position: Position


Since = Last | After | None
"""None is the whole ledger."""


@dataclass(frozen=True, slots=True)
class Scope:
    """`low` is the lowest id of what is examined, `transfers` how many there are from it on.

    The other fields are set where it is not the whole ledger.
    """

    low: int
    transfers: int
    snapshot: Snapshot | None = None
    """What this PostgreSQL snapshot could see was verified before."""
    verification: int | None = None
    """The record of that verification, where there is one."""
    position: Position | None = None
    from_journal: int = LOWEST
    """The lowest id of a new journal row."""
    overlap_xid: int = 0
    """From this transaction on journal rows are looked at, for ids are not quite in its order."""

    @property
    def whole(self) -> bool:
        """Whether everything is examined."""
        return self.snapshot is None


async def find_scope(
    connection: asyncpg.Connection, queries: Any, since: Since, now: Position
) -> Scope:
    """The scope of a verification that starts at position `now`.

    Raises UsageError where nothing was verified before, or the position is of another history.
    """
    if since is None:
        return Scope(LOWEST, await _count(connection, queries, LOWEST))
    verification = None
    if isinstance(since, After):
        position = since.position
        if position.epoch != now.epoch:
            raise UsageError(
                f"the position is of epoch {position.epoch}, the ledger is in epoch {now.epoch}"
            )
        snapshot: Snapshot = (position.xid + 1, position.xid + 1, ())
    else:
        last = await queries.last_verification(connection)
        if last is None or last["epoch"] != now.epoch:
            raise UsageError("nothing has been verified yet: run it once without --since-last")
        verification, snapshot = last["id"], last["snapshot"]
        position = Position(now.epoch, int(last["xid"]), last["journal_id"])
    fresh = await queries.find_fresh(
        connection,
        since=snapshot,
        xid=position.xid,
        journal_id=position.journal_id,
        settled_us=SETTLED_AFTER_US,
    )
    return Scope(
        fresh["low"],
        await _count(connection, queries, fresh["low"]),
        snapshot,
        verification,
        position,
        fresh["from_journal"],
        int(fresh["overlap"]),
    )


async def _count(connection: asyncpg.Connection, queries: Any, low: int) -> int:
    row = await queries.count_transfers(connection, low=low, high=HIGHEST)
    count: int = row["transfers"]
    return count
