"""Reads what payers did before, under the locks of a batch, for policy that hangs on it.

A payer's debits are read backwards from the newest, over the index that the ledger has of them
anyway: no payment pays for a rule that its currency does not have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import asyncpg

import database
from paycore.domain.accounts import Account, AccountId
from paycore.domain.money import MAX_MINOR
from paycore.domain.past import Pair, PastRead, PastWanted, Spent
from paycore.domain.step_up_policy import DAY_US, day_of
from paycore.runtime.clock import Clock

PAGES = (16, 256, 4_096)
"""How many debits of a payer are read, and how many more where these do not tell yet.

Beyond them all, a payer's day cannot be counted, and a payee counts as not yet paid: either way the
payer has to approve.
"""


class PastReader:
    """Reads from the ledger, each time in statements that begin after the locks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queries: Any = database.load("past")

    async def read(
        self,
        connection: asyncpg.Connection,
        wanted: PastWanted,
        accounts: Mapping[AccountId, Account],
    ) -> PastRead:
        """What is wanted of `accounts`, which are locked."""
        spent = await self._spent(connection, [accounts[payer] for payer in wanted.payers])
        return PastRead(spent, await self._paid(connection, wanted.pairs))

    async def _spent(
        self, connection: asyncpg.Connection, payers: Collection[Account]
    ) -> dict[AccountId, Spent]:
        """The day is that of the payer's newest entry, or today where that is later.

        An account's times rise with its versions: nothing is ever posted to an earlier day.
        """
        today = day_of(self._clock.now_us())
        days = {payer.id: max(today, day_of(payer.last_entry_us)) for payer in payers}
        totals: dict[AccountId, int] = dict.fromkeys(days, 0)
        befores = {
            payer.id: int(MAX_MINOR)
            for payer in payers
            if day_of(payer.last_entry_us) == days[payer.id]
        }
        for size in PAGES:
            if not befores:
                break
            found = await self._queries.unapproved_since(
                connection,
                payers=list(befores),
                befores=list(befores.values()),
                since_us=[days[payer] * DAY_US for payer in befores],
                size=size,
            )
            befores = {}
            for row in found:
                payer = AccountId(row["payer"])
                totals[payer] += int(row["total"])
                if row["entries"] == size:
                    befores[payer] = row["lowest"]
        return {
            payer: Spent(day, None if payer in befores else totals[payer])
            for payer, day in days.items()
        }

    async def _paid(
        self, connection: asyncpg.Connection, pairs: Collection[Pair]
    ) -> frozenset[Pair]:
        paid: set[Pair] = set()
        depth = 0
        for size in PAGES:
            depth += size
            left = [pair for pair in pairs if pair not in paid]
            if not left:
                break
            found = await self._queries.paid_before(
                connection,
                payers=[payer for payer, _ in left],
                payees=[payee for _, payee in left],
                depth=depth,
            )
            paid.update((AccountId(row["payer"]), AccountId(row["payee"])) for row in found)
        return frozenset(paid)
