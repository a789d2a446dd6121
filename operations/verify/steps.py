"""The work of a verification, in steps that share a snapshot and need nothing of each other."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import asyncpg

from operations.verify.guards import enforcement
from operations.verify.scope import HIGHEST, LOWEST, Scope
from operations.verify.signatures import check_signatures
from operations.verify.tally import Finding, finding
from paycore.domain.rules import LEGAL_CHILDREN

SLICE = 250_000
"""Transfers in a slice by ids, and about as many in one by hash as long as there are few slices."""

MOST_HASHED = 8
"""Slices by hash read the whole table each, so that more of them cost more than they save."""

PARENTS = 5_000
"""How many older parents one step looks at."""

Work = Callable[[asyncpg.Connection], Awaitable[Sequence[Finding]]]


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the work; `rule` is what it is blamed on if it cannot be done.

    `weight` is about how long it takes: ten for looking at a transfer by itself.
    """

    rule: str
    weight: int
    work: Work


async def plan_steps(
    connection: asyncpg.Connection, queries: Any, scope: Scope, keys: Mapping[str, bytes] | None
) -> list[Step]:
    """The steps that cover `scope`, the long ones first. `keys` verify signatures."""
    planner = _Planner(queries)
    ranges = await _ranges(connection, queries, scope)
    if scope.whole:
        planner.whole(scope)
    else:
        planner.fresh(scope)
    per_range = scope.transfers // len(ranges)
    for low, high in ranges:
        planner.by_ids(low, high, per_range, scope.from_journal)
    if not scope.whole:
        async for parents in _older_parents(connection, queries, scope.low):
            planner.families(LOWEST, LOWEST, parents, 16 * len(parents))
    for name in ("check_sums", "check_held", "check_limits", "check_erasures"):
        planner.add(name.removeprefix("check_"), name, 0)
    for name, values in enforcement().items():
        planner.add(name.removeprefix("check_"), name, 0, **values)
    if keys is not None:
        planner.steps.append(_signatures(queries, keys, scope.low))
    return planner.steps


class _Planner:
    def __init__(self, queries: Any) -> None:
        self.steps: list[Step] = []
        self._queries = queries
        self._legal = [
            (str(parent), str(child)) for child, of in LEGAL_CHILDREN.items() for parent in of
        ]

    def add(self, rule: str, query: str, weight: int, **values: object) -> None:
        async def work(connection: asyncpg.Connection) -> list[Finding]:
            rows = await getattr(self._queries, query)(connection, **values)
            return [finding(row.values()) for row in rows]

        self.steps.append(Step(rule, weight + 1, work))

    def whole(self, scope: Scope) -> None:
        slices = max(1, min(MOST_HASHED, math.ceil(scope.transfers / SLICE)))
        share = scope.transfers // slices
        for index in range(slices):
            of = {"slice": index, "slices": slices}
            self.add("versions", "check_chains", 40 * share, **of)
        for index in range(slices):
            of = {"slice": index, "slices": slices}
            self.add("keys", "check_outcomes", 25 * share, **of)
            self.add("keys", "check_key_uniqueness", 15 * share, **of)
        self.add("keys", "check_account_outcomes", 0)

    def fresh(self, scope: Scope) -> None:
        self.add(
            "versions",
            "check_fresh_chains",
            40 * scope.transfers,
            since=scope.snapshot,
            low=scope.low,
        )
        self.add(
            "keys",
            "check_fresh_outcomes",
            25 * scope.transfers,
            since=scope.snapshot,
            low=scope.low,
            from_journal=scope.from_journal,
            overlap=scope.overlap_xid,
        )
        self.add(
            "keys",
            "check_fresh_key_uniqueness",
            15 * scope.transfers,
            since=scope.snapshot,
            from_journal=scope.from_journal,
        )

    def by_ids(self, low: int, high: int, rows: int, from_journal: int) -> None:
        self.add("sides", "check_sides", 10 * rows, low=low, high=high)
        self.families(low, high, [], 16 * rows)
        self.add("groups", "check_groups", 3 * rows, low=low, high=high)
        self.add("details", "check_details", 3 * rows, low=low, high=high)
        self.add("authorizations", "check_authorizations", 3 * rows, low=low, high=high)
        self.add(
            "positions",
            "check_group_positions",
            4 * rows,
            low=low,
            high=high,
            from_journal=from_journal,
        )

    def families(self, low: int, high: int, parents: Sequence[int], rows: int) -> None:
        self.add(
            "children",
            "check_families",
            rows,
            low=low,
            high=high,
            first=parents[0] if parents else low,
            last=parents[-1] if parents else high,
            parents=parents,
            legal_parents=[parent for parent, _ in self._legal],
            legal_children=[child for _, child in self._legal],
        )


def _signatures(queries: Any, keys: Mapping[str, bytes], low: int) -> Step:
    async def work(connection: asyncpg.Connection) -> list[Finding]:
        return [await check_signatures(connection, queries, keys, low=low)]

    return Step("signatures", 1, work)


async def _ranges(
    connection: asyncpg.Connection, queries: Any, scope: Scope
) -> list[tuple[int, int]]:
    """Ranges of ids from the scope's lowest to the highest there can be."""
    rows = await queries.slice_bounds(connection, low=scope.low, high=HIGHEST, step=SLICE)
    bounds = [scope.low, *(row["id"] for row in rows), HIGHEST]
    return list(pairwise(bounds))


async def _older_parents(
    connection: asyncpg.Connection, queries: Any, low: int
) -> AsyncIterator[list[int]]:
    after = LOWEST
    while rows := await queries.older_parents(connection, low=low, after=after, most=PARENTS):
        parents = [row["parent_id"] for row in rows]
        yield parents
        after = parents[-1]
