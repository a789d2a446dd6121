"""What the ledger's tables tell about payers: read for all that are asked about together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import asyncpg

import database
from command_service.transactions import reading
from paycore.domain.accounts import AccountId
from paycore.domain.money import MAX_MINOR
from paycore.domain.plan import Key
from paycore.runtime.clock import Clock

PAGE = 200
"""Debits of each payer that are read at a time."""

MOST_IN_A_DAY = 10_000
"""Debits of one payer in a day beyond which they are not added up."""

KNOWN_DEPTH = 1_000
"""How many of a payer's debits back a payee is looked for."""

_DAY_US = 86_400_000_000


class LedgerFigures:
    """Reads them from the primary. Every read raises UnreachableError."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._queries: Any = database.load("risk")
        self._past: Any = database.load("past")

    async def spent_today(self, payers: Collection[AccountId]) -> dict[AccountId, int | None]:
        """By payer, in minor units; None beyond MOST_IN_A_DAY.

        A page of each at a time, newest first, down to the last debit of yesterday.
        """
        if not payers:
            return {}
        now_us = self._clock.now_us()
        day_us = now_us - now_us % _DAY_US
        spent: dict[AccountId, int | None] = dict.fromkeys(payers, 0)
        befores = dict.fromkeys(payers, int(MAX_MINOR))
        entries = 0
        async with reading(self._pool) as connection:
            while befores and entries < MOST_IN_A_DAY:
                pages = await self._queries.debits_of_day(
                    connection,
                    payers=list(befores),
                    befores=list(befores.values()),
                    size=PAGE,
                    day_us=day_us,
                )
                entries += PAGE
                befores = {}
                for page in pages:
                    payer = AccountId(page["payer"])
                    spent[payer] = (spent[payer] or 0) + int(page["total"])
                    if page["entries"] == PAGE:
                        befores[payer] = page["lowest"]
        return {**spent, **dict.fromkeys(befores)}

    async def paid_before(
        self, pairs: Sequence[tuple[AccountId, AccountId]]
    ) -> frozenset[tuple[AccountId, AccountId]]:
        """Those of the payers and payees of whom the one has paid the other."""
        if not pairs:
            return frozenset()
        async with reading(self._pool) as connection:
            found = await self._past.paid_before(
                connection,
                payers=[payer for payer, _ in pairs],
                payees=[payee for _, payee in pairs],
                depth=KNOWN_DEPTH,
            )
        return frozenset((AccountId(row["payer"]), AccountId(row["payee"])) for row in found)

    async def stored(self, keys: Collection[Key]) -> set[Key]:
        """Those of `keys` that have outcomes."""
        async with reading(self._pool) as connection:
            rows = await self._queries.stored_keys(
                connection,
                clients=[client for client, _ in keys],
                keys=[name for _, name in keys],
            )
        return {(row["client"], row["key"]) for row in rows}
