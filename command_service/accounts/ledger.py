"""Accounts in PostgreSQL: opened in bulk, changed one at a time, each command in a transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

import database
from command_service.accounts.acting import Actors
from command_service.accounts.changes import AccountChanges
from command_service.accounts.commands import (
    AccountChange,
    AccountOutcome,
    AccountStored,
    OpenAccount,
)
from command_service.accounts.keys import AccountKeys, Described
from command_service.accounts.opening import AccountOpening, audited
from command_service.accounts.turns import AccountTurns
from command_service.posting import rows
from command_service.transactions import Transactions, reading
from paycore.domain.accounts import Account, AccountId
from paycore.domain.rules import Rules
from paycore.runtime.clock import Clock
from paycore.runtime.snowflake import IdSource


class AccountLedger:
    """Opens, changes and reads accounts."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        transactions: Transactions,
        rules: Callable[[], Rules],
        ids: IdSource,
        clock: Clock,
        actors: Actors,
    ) -> None:
        self._pool = pool
        self._actors = actors
        self._transactions = transactions
        self._ids = ids
        self._clock = clock
        self._queries: Any = database.load("accounts")
        self._turns = AccountTurns(clock)
        self._keys = AccountKeys(self._queries, rules, lambda: transactions.epoch)
        self._opening = AccountOpening(self._queries, self._keys)
        self._changes = AccountChanges(self._queries, self._keys)

    async def read(self, account_id: AccountId) -> Account | None:
        """The account as the primary has it now, or None. Raises UnreachableError."""
        return (await self.read_many([account_id])).get(account_id)

    async def read_many(self, ids: Sequence[AccountId]) -> dict[AccountId, Account]:
        """Those of the accounts that exist, as the primary has them. Raises UnreachableError."""
        async with reading(self._pool) as connection:
            found = await self._queries.read_accounts(connection, ids=ids)
        return {row["id"]: rows.account(row) for row in found}

    async def describe(self, account_id: AccountId) -> Described | None:
        """As `read`, with what its client told of it."""
        async with reading(self._pool) as connection:
            return (await self._keys.describe(connection, [account_id])).get(account_id)

    def may_read(self, client: str, account: Account) -> bool:
        """Whether `client` may see the account's figures and metadata."""
        return self._keys.may_read(client, account)

    async def open(
        self, commands: Sequence[OpenAccount], deadline_s: float
    ) -> list[AccountOutcome]:
        """The outcome of each command, in order; all new accounts in one transaction.

        The commands, at least one, are of one client.

        Raises PaycoreError CONTENTION, DATABASE_UNAVAILABLE, OVERLOADED or DEADLINE_EXCEEDED when
        nothing is decided; nothing is written after the monotonic time `deadline_s`.
        """
        asked = dict.fromkeys(one for one in map(audited, commands) if one is not None)
        acting = await self._actors.of_each(asked)

        async def attempt() -> list[AccountOutcome]:
            journal_id, *ids = await self._ids.take(len(commands) + 1)

            async def work(
                connection: asyncpg.Connection,
            ) -> tuple[list[AccountOutcome], int | None]:
                opened = await self._opening.open(
                    connection, commands, acting, journal_id, ids, self._clock.now_us()
                )
                self._turns.check_time(deadline_s)
                return opened

            outcomes, position = await self._transactions.run(journal_id, work)
            for outcome in outcomes:
                if isinstance(outcome, AccountStored) and outcome.position is None:
                    outcome.position = position
            return outcomes

        return await self._turns.run(commands[0].client, attempt, deadline_s)

    async def change(self, command: AccountChange, deadline_s: float) -> AccountStored:
        """Change an account; the tables write who did it to the audit.

        Raises PaycoreError: ACCOUNT_NOT_FOUND, NOT_PERMITTED, VERSION_MISMATCH, ILLEGAL_STATE,
        ACCOUNT_KIND_MISMATCH, IDEMPOTENCY_KEY_REUSED, CONTENTION, DATABASE_UNAVAILABLE, OVERLOADED,
        DEADLINE_EXCEEDED; nothing is written after the monotonic time `deadline_s`.
        """
        acting = await self._actors.of(command.client, command.actor)

        async def attempt() -> AccountStored:
            journal_id, audit_id = await self._ids.take(2)

            async def work(connection: asyncpg.Connection) -> tuple[AccountStored, int | None]:
                changed = await self._changes.change(
                    connection, command, acting, journal_id, audit_id, self._clock.now_us()
                )
                self._turns.check_time(deadline_s)
                return changed

            stored, position = await self._transactions.run(journal_id, work)
            if stored.position is None:
                stored.position = position
            return stored

        return await self._turns.run(command.client, attempt, deadline_s)
