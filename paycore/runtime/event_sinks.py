"""The tables of security events, as those see them who add to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import database
from paycore.runtime.database import LazyPool
from paycore.runtime.pools import PoolName
from paycore.runtime.security_events import WRITE_WITHIN_S, Row
from paycore.runtime.traces import Bound, Trace, Tracer


class _Table:
    """A table on a connection of its own, which is opened when it is first needed."""

    def __init__(self, dsn: str, application: str) -> None:
        self._pool = LazyPool(
            dsn,
            size=1,
            name=PoolName.EVENTS,
            application=application,
            command_timeout_s=WRITE_WITHIN_S,
        )
        self._queries: Any = database.load("security_events")

    async def _insert(self, query: Any, rows: Sequence[Row], **more: Sequence[object]) -> None:
        pool = await self._pool.get()
        async with pool.acquire() as connection:
            await query(
                connection,
                first_us=[row.first_us for row in rows],
                last_us=[row.last_us for row in rows],
                counts=[row.times for row in rows],
                events=[row.kind.event for row in rows],
                clients=[_bounded(row.kind.client, 128) for row in rows],
                methods=[_bounded(row.kind.method, 256) for row in rows],
                reasons=[_bounded(row.kind.reason, 512) for row in rows],
                users=[_bounded(row.user_id, 128) for row in rows],
                addresses=[_bounded(row.ip_address, 64) for row in rows],
                request_ids=[_bounded(row.request_id, 64) for row in rows],
                **more,
            )

    async def close(self) -> None:
        """Close the connection."""
        await self._pool.close()


class ServicesSink(_Table):
    """audit.events, for every service but the signing one."""

    def __init__(self, dsn: str, application: str, tracer: Tracer | None = None) -> None:
        """Without a `tracer`, which a service needs that acts for persons, nothing is kept of where
        they were."""
        super().__init__(dsn, application)
        self._tracer = tracer

    async def write(self, rows: Sequence[Row]) -> None:
        """As `Sink.write`."""
        traces = [Trace()] * len(rows)
        if self._tracer is not None:
            traces = await self._tracer.traces([(row.person, _bound(row)) for row in rows])
        await self._insert(
            self._queries.write_for_services,
            rows,
            device_hints=[trace.device_hint for trace in traces],
            address_hints=[trace.address_hint for trace in traces],
            owner_keys=[trace.owner_key for trace in traces],
            actor_keys=[trace.actor_key for trace in traces],
            sealed=[trace.sealed for trace in traces],
        )


class SigningSink(_Table):
    """signing.events, whose devices are device keys."""

    async def write(self, rows: Sequence[Row]) -> None:
        """As `Sink.write`."""
        devices = [_bounded(row.kind.device_id, 128) for row in rows]
        await self._insert(self._queries.write_for_signing, rows, devices=devices)


def _bound(row: Row) -> Bound:
    client, user_id = _bounded(row.kind.client, 128), _bounded(row.user_id, 128)
    return Bound(row.first_us, row.kind.event, client, user_id)


def _bounded(text: str | None, most: int) -> str | None:
    """`text` as the table takes it: PostgreSQL has no NUL, and rows have bounds."""
    return None if text is None else text.replace("\0", "")[:most]
