"""Erasing subjects: their keys first, for what cannot be opened any more is as good as gone."""

from __future__ import annotations

from typing import Any, NamedTuple

import asyncpg

import database
from command_service import anew
from command_service.accounts.acting import Actors, act_as
from command_service.accounts.turns import AccountTurns
from command_service.posting.store import UnreachableError
from command_service.transactions import Transactions, reading
from paycore.domain.position import Position
from paycore.domain.transfers import Details
from paycore.runtime.clock import Clock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.snowflake import IdSource

ACCOUNTS_AT_ONCE = 1_000
"""Accounts whose metadata goes in one transaction."""


class Erased(NamedTuple):
    """What an erasure found, and when, in microseconds since 1970."""

    erased_at_us: int
    destroyed_keys: int
    cleared_accounts: int
    position: Position | None


class Erasure:
    """Safe to repeat, and to be repeated after a failure at any point."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        transactions: Transactions,
        keys: DataKeys,
        ids: IdSource,
        clock: Clock,
        actors: Actors,
    ) -> None:
        self._pool = pool
        self._transactions = transactions
        self._turns = AccountTurns(clock)
        self._keys = keys
        self._ids = ids
        self._clock = clock
        self._actors = actors
        self._queries: Any = database.load("erasure")
        self._accounts: Any = database.load("accounts")

    async def erase(
        self, client: str, subject: str, reason: str, actor: Details, deadline_s: float
    ) -> Erased:
        """Destroy the keys of `subject`, raise their tombstones, clear what accounts tell.

        `deadline_s` is the caller's, on the monotonic clock. Raises PaycoreError
        SIGNER_UNAVAILABLE, DATABASE_UNAVAILABLE, CONTENTION, OVERLOADED or DEADLINE_EXCEEDED.
        """
        destroyed = await self._keys.destroy(subject, deadline_s - self._clock.monotonic_s())
        # After that: whoever erases themselves is audited under a key that is there to stay.
        acting = await self._actors.of(client, actor)

        async def attempt() -> tuple[int, Position | None, int]:
            journal_id, audit_id = await self._ids.take(2)
            at_us = self._clock.now_us()

            async def work(connection: asyncpg.Connection) -> tuple[int, int]:
                await act_as(self._accounts, connection, acting, reason=reason, audit_id=audit_id)
                added = await self._queries.erase_keys(
                    connection, subject=subject, keys=destroyed, at_us=at_us
                )
                # All of them: whoever repeats it has the documents written again.
                xid = await self._queries.write_journal(
                    connection, id=journal_id, created_at_us=at_us, keys=destroyed
                )
                return added, xid

            added, position = await self._transactions.run(journal_id, work)
            return added, position, at_us

        added, position, at_us = await self._turns.run(client, attempt, deadline_s)
        return Erased(at_us, added, await self._clear_accounts(subject, deadline_s), position)

    async def _clear_accounts(self, subject: str, deadline_s: float) -> int:
        cleared, some = 0, ACCOUNTS_AT_ONCE
        try:
            while some == ACCOUNTS_AT_ONCE:
                self._turns.check_time(deadline_s)
                async with reading(self._pool) as connection:
                    some = await self._queries.erase_account_details(
                        connection, subject=subject, most=ACCOUNTS_AT_ONCE
                    )
                cleared += some
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        return cleared
