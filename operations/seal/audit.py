"""Seals what the audit of a release before tells of persons in the clear."""

from __future__ import annotations

from typing import Any

import asyncpg

import database
from operations.seal.events import check_sealed
from operations.seal.job import AT_ONCE
from paycore.runtime.traces import AUDITED, Bound, Person, Tracer


async def seal_audit(connection: asyncpg.Connection, tracer: Tracer) -> int:
    """Seal every plain row of a service, and say how many, as `seal_events` does."""
    queries: Any = database.load("seal")
    sealed = after = 0
    while rows := await queries.find_plain_audit(connection, after_id=after, most=AT_ONCE):
        after = rows[-1]["id"]
        traces = await tracer.traces([(_person(row), _bound(row)) for row in rows])
        check_sealed(rows, traces)
        async with connection.transaction():
            await queries.open_audit(connection)
            await queries.seal_audit(
                connection,
                ids=[row["id"] for row in rows],
                device_hints=[trace.device_hint for trace in traces],
                address_hints=[trace.address_hint for trace in traces],
                actor_keys=[trace.owner_key for trace in traces],
                sealed=[trace.sealed for trace in traces],
            )
            await queries.close_audit(connection)
        sealed += len(rows)
    return sealed


def _person(row: Any) -> Person:
    return Person(row["user_id"], row["device_id"], row["ip_address"])


def _bound(row: Any) -> Bound:
    return Bound(row["created_at_us"], AUDITED, row["client"], row["user_id"])
