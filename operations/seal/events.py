"""Seals what security events of a release before tell of persons in the clear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

import database
from operations.seal.job import AT_ONCE
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.subjects import is_subject
from paycore.runtime.traces import Bound, Person, Trace, Tracer


async def seal_events(connection: asyncpg.Connection, tracer: Tracer) -> int:
    """Seal every plain row, and say how many; safe to repeat, and to be stopped anywhere.

    Rows that name no user, whose key it could be, keep their hints alone. `connection` is of
    paycore_owner: the tables are closed to changes, and are opened for each transaction. Raises
    PaycoreError SIGNER_UNAVAILABLE, and what asyncpg raises.
    """
    queries: Any = database.load("events")
    sealed = after = 0
    while rows := await queries.find_plain_events(connection, after_id=after, most=AT_ONCE):
        after = rows[-1]["id"]
        traces = await tracer.traces([(_person(row), _bound(row)) for row in rows])
        check_sealed(rows, traces)
        async with connection.transaction():
            await queries.open_services_events(connection)
            await queries.seal_events(
                connection,
                ids=[row["id"] for row in rows],
                device_hints=[trace.device_hint for trace in traces],
                address_hints=[trace.address_hint for trace in traces],
                owner_keys=[trace.owner_key for trace in traces],
                actor_keys=[trace.actor_key for trace in traces],
                sealed=[trace.sealed for trace in traces],
            )
            await queries.close_services_events(connection)
        sealed += len(rows)
    return sealed


def _person(row: Any) -> Person:
    return Person(None, row["device_id"], row["ip_address"])


def _bound(row: Any) -> Bound:
    return Bound(row["first_us"], row["event"], row["client"], row["user_id"])


def check_sealed(rows: Sequence[Any], traces: Sequence[Trace]) -> None:
    """What is plain must not be lost for want of a key. Raises PaycoreError SIGNER_UNAVAILABLE."""
    for row, trace in zip(rows, traces, strict=True):
        if trace.sealed is None and is_subject(row["user_id"] or ""):
            raise PaycoreError(Reason.SIGNER_UNAVAILABLE, "the keys of events cannot be had")
