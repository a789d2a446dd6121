"""One run: the ledger in one snapshot, then the index against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from operations.verify.index import Index, IndexAddress, IndexBehindError
from operations.verify.queries import load_queries
from operations.verify.readers import (
    CONNECT_TIMEOUT_S,
    Progress,
    no_progress,
    open_readers,
    run_steps,
)
from operations.verify.record import record
from operations.verify.report import Check, Report, Total
from operations.verify.scope import SETTLED_AFTER_US, Since, find_scope
from operations.verify.steps import plan_steps
from paycore.domain.money import MAX_MINOR
from paycore.domain.position import Position
from paycore.runtime.clock import Clock, SystemClock

INDEX_RULE = "index and ledger agree in count and in sum per currency"
ALL_TIME_US = int(MAX_MINOR)
"""Later than any recorded time."""


READERS = 2
"""Sessions that read side by side: one for each core that verification may take."""


async def verify_ledger(
    dsn: str,
    *,
    index: IndexAddress | None = None,
    authorization_keys: Mapping[str, bytes] | None = None,
    clock: Clock | None = None,
    since: Since = None,
    progress: Progress = no_progress,
) -> Report:
    """Recompute everything from the transfers and hold the tables, and the index, against it.

    With `since`, only what was written since, and what that touches. `dsn` is that of role
    paycore_audit. `authorization_keys` are the signing service's raw Ed25519 public keys by id.
    What has no address is left out and said so in the report. A run that finds the ledger whole is
    recorded, unless it began at a position that nothing vouches for.

    Raises UsageError when there is nothing to go on from, and what asyncpg or elasticsearch raise
    when a server cannot be reached.
    """
    queries = load_queries()
    async with open_readers(dsn, queries, READERS) as readers:
        first = readers[0]
        position, complete = await _position(first, queries)
        snapshot = await queries.snapshot(first)
        scope = await find_scope(first, queries, since, position)
        # They take a look at every transfer: only where somebody compares them.
        needed = scope.whole or index is not None
        totals = await _totals(first, queries, ALL_TIME_US) if needed else []
        steps = await plan_steps(first, queries, scope, authorization_keys)
        checks = (await run_steps(readers, steps, progress)).checks()
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        if index is not None:
            async with Index(index) as opened:
                comparison = _Comparison(connection, queries, opened, clock or SystemClock())
                checks.append(await comparison.check(position, complete, totals))
        skipped = []
        if authorization_keys is None:
            skipped.append("signatures of authorizations: no signing service was named")
        if index is None:
            skipped.append("index against ledger: no index was named")
        report = Report(
            position,
            tuple(checks),
            tuple(totals),
            tuple(skipped),
            since=scope.position,
            transfers=scope.transfers,
        )
        if report.held and (scope.whole or scope.verification is not None):
            await record(connection, queries, report, scope, snapshot)
    finally:
        await connection.close()
    return report


class _Comparison:
    """Ledger against index while payments may go on."""

    def __init__(
        self, connection: asyncpg.Connection, queries: Any, index: Index, clock: Clock
    ) -> None:
        self._connection = connection
        self._queries = queries
        self._index = index
        self._clock = clock

    async def check(self, position: Position, complete: bool, totals: list[Total]) -> Check:
        try:
            from_us = await self._index.wait_for(position)
            # What is past the index's retention is in neither sum.
            found = await self._index.totals(ALL_TIME_US)
            still = complete and not await self._moved_since(position)
            if from_us == 0 and (found == totals or still):
                return _compare(totals, found)
            # The index went on while the ledger was read: look at what is settled instead.
            before_us = self._clock.now_us() - SETTLED_AFTER_US
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                position, _ = await _position(self._connection, self._queries)
                totals = await _totals(self._connection, self._queries, before_us, from_us)
            await self._index.wait_for(position)
            return _compare(totals, await self._index.totals(before_us, from_us))
        except IndexBehindError as error:
            return Check(INDEX_RULE, 0, "transfers and declines", 1, {"behind": str(error)})

    async def _moved_since(self, position: Position) -> bool:
        newest = await self._queries.newest_position(self._connection)
        return newest is not None and (newest["xid"], newest["journal_id"]) != position[1:]


def _compare(ledger: Sequence[Total], index: Sequence[Total]) -> Check:
    stored = {(total.state, total.currency): total for total in ledger}
    found = {(total.state, total.currency): total for total in index}
    differing = [
        place
        for place in sorted(stored.keys() | found.keys())
        if stored.get(place) != found.get(place)
    ]
    first: dict[str, object] | None = None
    if differing:
        state, currency = differing[0]
        first = {"state": state, "currency": currency}
        for side, totals in (("ledger", stored), ("index", found)):
            total = totals.get(differing[0])
            first[f"{side}_count"] = 0 if total is None else total.items
            first[f"{side}_sum"] = 0 if total is None else total.total
    examined = sum(total.items for total in ledger)
    return Check(INDEX_RULE, examined, "transfers and declines", len(differing), first)


async def _position(connection: asyncpg.Connection, queries: Any) -> tuple[Position, bool]:
    row = await queries.snapshot_position(connection)
    return Position(row["epoch"], int(row["xid"]), row["journal_id"]), row["complete"]


async def _totals(
    connection: asyncpg.Connection, queries: Any, before_us: int, from_us: int = 0
) -> list[Total]:
    rows = await queries.totals(connection, from_us=from_us, before_us=before_us)
    return sorted(
        (Total(row["state"], row["currency"], row["items"], int(row["total"])) for row in rows),
        key=lambda total: (total.state, total.currency),
    )
