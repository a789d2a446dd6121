"""Telling the tables for whom a transaction acts: they write the audit themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import asyncpg

from paycore.domain.transfers import Details
from paycore.runtime.clock import Clock
from paycore.runtime.traces import AUDITED, Bound, Person, Trace, Tracer

Asked = tuple[str, Details]
"""A client, and the person for whom it says that it acts."""


class Acting(NamedTuple):
    """Who changes something, as an audit row keeps it: where the person was is sealed."""

    client: str
    user_id: str
    trace: Trace
    traced_us: int


class Actors:
    """Seals where persons were, before the transaction: no lock waits for their keys."""

    def __init__(self, tracer: Tracer, clock: Clock) -> None:
        self._tracer = tracer
        self._clock = clock

    async def of(self, client: str, actor: Details) -> Acting:
        """Never fails; a person whose key cannot be had is hinted at."""
        return (await self.of_each([(client, actor)]))[client, actor]

    async def of_each(self, asked: Collection[Asked]) -> Mapping[Asked, Acting]:
        """As `of`, for all of `asked` in one question for keys."""
        if not asked:
            return {}
        now_us = self._clock.now_us()
        traces = await self._tracer.traces(
            [
                (
                    _person(actor),
                    Bound(now_us, AUDITED, client, actor.user_id or None),
                )
                for client, actor in asked
            ]
        )
        return {
            (client, actor): Acting(client, actor.user_id, trace, now_us)
            for (client, actor), trace in zip(asked, traces, strict=True)
        }


def _person(actor: Details) -> Person:
    return Person(actor.user_id or None, actor.device_id or None, actor.ip_address or None)


async def act_as(
    queries: Any,
    connection: asyncpg.Connection,
    acting: Acting,
    *,
    reason: str = "",
    audit_id: int | None = None,
) -> None:
    """From now on, to the end of the transaction. `audit_id` is that of the next audit row.

    `queries` are those of accounts.sql.
    """
    trace = acting.trace
    await queries.act_as(
        connection,
        client=acting.client,
        user_id=acting.user_id,
        device_hint=trace.device_hint or "",
        address_hint=trace.address_hint or "",
        # The two keys of a trace are those of whom it is about and who acted: here they are one.
        actor_key="" if trace.owner_key is None else str(trace.owner_key),
        traced_us="" if trace.sealed is None else str(acting.traced_us),
        sealed="" if trace.sealed is None else trace.sealed.hex(),
        reason=reason,
        audit_id="" if audit_id is None else str(audit_id),
    )
