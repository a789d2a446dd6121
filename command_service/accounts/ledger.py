"""Accounts in PostgreSQL: opened in bulk, changed one at a time, each under its key."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import structlog

import database
from command_service.accounts.commands import (
    AccountOutcome,
    AccountRefused,
    AccountStored,
    ChangeStatus,
    OpenAccount,
)
from command_service.accounts.turns import AccountTurns
from command_service.posting import rows
from command_service.posting.store import (
    ConflictError,
)
from command_service.transactions import Transactions, reading
from paycore.domain.accounts import LEGAL_STATUS_MOVES, Account, AccountId, AccountStatus
from paycore.domain.errors import PaycoreError, Reason, account_not_found, key_reused
from paycore.domain.grants import GrantAction
from paycore.domain.money import Minor
from paycore.domain.plan import Key
from paycore.domain.position import Position
from paycore.domain.rules import Rules
from paycore.runtime.clock import Clock
from paycore.runtime.snowflake import IdSource

log = structlog.get_logger()


class AccountLedger:
    """Opens, changes and reads accounts."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        transactions: Transactions,
        rules: Callable[[], Rules],
        ids: IdSource,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._transactions = transactions
        self._rules = rules
        self._ids = ids
        self._clock = clock
        self._queries: Any = database.load("accounts")
        self._turns = AccountTurns(clock)

    async def read(self, account_id: AccountId) -> Account | None:
        """The account as the primary has it now, or None. Raises UnreachableError."""
        return (await self.read_many([account_id])).get(account_id)

    async def read_many(self, ids: Sequence[AccountId]) -> dict[AccountId, Account]:
        """Those of the accounts that exist, as the primary has them. Raises UnreachableError."""
        async with reading(self._pool) as connection:
            return await self._read(connection, ids)

    async def open(
        self, commands: Sequence[OpenAccount], deadline_s: float
    ) -> list[AccountOutcome]:
        """The outcome of each command, in order; all new accounts in one transaction.

        Raises PaycoreError CONTENTION, DATABASE_UNAVAILABLE, OVERLOADED or DEADLINE_EXCEEDED when
        nothing is decided; nothing is written after the monotonic time `deadline_s`.
        """

        async def attempt() -> list[AccountOutcome]:
            journal_id, *ids = await self._ids.take(len(commands) + 1)

            async def work(
                connection: asyncpg.Connection,
            ) -> tuple[list[AccountOutcome], int | None]:
                opened = await self._open(connection, commands, journal_id, ids)
                self._turns.check_time(deadline_s)
                return opened

            outcomes, position = await self._transactions.run(journal_id, work)
            for outcome in outcomes:
                if isinstance(outcome, AccountStored) and outcome.position is None:
                    outcome.position = position
            return outcomes

        return await self._turns.run(attempt, deadline_s)

    async def change_status(self, command: ChangeStatus, deadline_s: float) -> AccountStored:
        """Set an account's status and write who did it to the audit.

        Raises PaycoreError: ACCOUNT_NOT_FOUND, NOT_PERMITTED, VERSION_MISMATCH, ILLEGAL_STATE,
        IDEMPOTENCY_KEY_REUSED, CONTENTION, DATABASE_UNAVAILABLE, OVERLOADED, DEADLINE_EXCEEDED;
        nothing is written after the monotonic time `deadline_s`.
        """

        async def attempt() -> AccountStored:
            journal_id, audit_id = await self._ids.take(2)

            async def work(connection: asyncpg.Connection) -> tuple[AccountStored, int | None]:
                changed = await self._change_status(connection, command, journal_id, audit_id)
                self._turns.check_time(deadline_s)
                return changed

            stored, position = await self._transactions.run(journal_id, work)
            if stored.position is None:
                stored.position = position
            return stored

        return await self._turns.run(attempt, deadline_s)

    async def _open(
        self,
        connection: asyncpg.Connection,
        commands: Sequence[OpenAccount],
        journal_id: int,
        ids: Sequence[int],
    ) -> tuple[list[AccountOutcome], int | None]:
        stored = await self._stored(connection, [(one.client, one.key) for one in commands])
        now_us = self._clock.now_us()
        opened: dict[Key, tuple[OpenAccount, Account]] = {}
        outcomes: list[AccountOutcome] = []
        for command, new_id in zip(commands, ids, strict=True):
            key = (command.client, command.key)
            earlier = stored.get(key)
            if earlier is not None:
                outcomes.append(self._replay(command, *earlier))
            elif key in opened:
                first, account = opened[key]
                if first.request_hash != command.request_hash:
                    outcomes.append(AccountRefused(key_reused(command.key)))
                else:
                    outcomes.append(self._outcome(command.client, account, None, replayed=True))
            else:
                account = _born(command, AccountId(new_id), now_us)
                opened[key] = (command, account)
                outcomes.append(self._outcome(command.client, account, None, replayed=False))
        if not opened:
            return outcomes, None
        new = [opened[key] for key in sorted(opened)]
        await self._queries.open_accounts(
            connection,
            ids=[account.id for _, account in new],
            kinds=[account.kind for _, account in new],
            currencies=[account.currency for _, account in new],
            owners=[account.owner for _, account in new],
            institutions=[account.institution for _, account in new],
            opened_by=[account.opened_by for _, account in new],
            limits=[account.overdraft_limit for _, account in new],
            created_us=[account.created_at_us for _, account in new],
        )
        await self._write_keys(connection, "ACCOUNT", new, journal_id)
        xid: int = await self._queries.write_journal(
            connection,
            id=journal_id,
            created_us=now_us,
            accounts=[account.id for _, account in new],
        )
        return outcomes, xid

    async def _change_status(
        self,
        connection: asyncpg.Connection,
        command: ChangeStatus,
        journal_id: int,
        audit_id: int,
    ) -> tuple[AccountStored, int | None]:
        row = await self._queries.lock_account(connection, id=command.account)
        stored = await self._stored(connection, [(command.client, command.key)])
        if stored:
            earlier = stored[(command.client, command.key)]
            outcome = self._replay(command, *earlier)
            if isinstance(outcome, AccountRefused):
                raise outcome.error
            return outcome, None
        if row is None:
            raise account_not_found(command.account)
        before = rows.account(row)
        self._check_change(command, before)
        revision = await self._queries.set_status(
            connection,
            id=before.id,
            status=command.status,
            revision_read=before.revision,
        )
        if revision is None:
            raise ConflictError("the account changed under its lock")
        after = before._replace(status=command.status, revision=revision)
        now_us = self._clock.now_us()
        await self._queries.write_audit(
            connection,
            id=audit_id,
            created_us=now_us,
            client=command.client,
            action="SET_STATUS",
            subject=f"account/{before.id}",
            before=json.dumps({"status": before.status, "revision": before.revision}),
            after=json.dumps({"status": after.status, "revision": after.revision}),
            reason=command.reason,
            user_id=command.actor.user_id or None,
            device_id=command.actor.device_id or None,
            ip_address=command.actor.ip_address or None,
        )
        await self._write_keys(connection, "ACCOUNT_STATUS", [(command, after)], journal_id)
        xid: int = await self._queries.write_journal(
            connection, id=journal_id, created_us=now_us, accounts=[after.id]
        )
        return self._outcome(command.client, after, None, replayed=False), xid

    def _check_change(self, command: ChangeStatus, account: Account) -> None:
        if not self._rules().grants.allows(
            command.client,
            GrantAction.SET_STATUS,
            opened_by=account.opened_by,
            institution=account.institution,
        ):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{command.client} may not set the status of account {account.id}",
                {"account": str(account.id), "grant": GrantAction.SET_STATUS},
            )
        if command.expected_revision not in (None, account.revision):
            raise PaycoreError(
                Reason.VERSION_MISMATCH,
                f"the account stands at revision {account.revision}",
                {
                    "account": str(account.id),
                    "expected": str(command.expected_revision),
                    "actual": str(account.revision),
                },
            )
        if (account.status, command.status) not in LEGAL_STATUS_MOVES:
            raise PaycoreError(
                Reason.ILLEGAL_STATE,
                f"an account that is {account.status} cannot become {command.status}",
                {"account": str(account.id), "state": account.status, "wanted": command.status},
            )
        if command.status is AccountStatus.CLOSED and (account.balance or account.held):
            raise PaycoreError(
                Reason.ILLEGAL_STATE,
                "only an account at zero and without holds can be closed",
                {"account": str(account.id), "state": account.status, "wanted": command.status},
            )

    async def _read(
        self, connection: asyncpg.Connection, ids: Sequence[AccountId]
    ) -> dict[AccountId, Account]:
        found = await self._queries.read_accounts(connection, ids=ids)
        return {row["id"]: rows.account(row) for row in found}

    async def _stored(
        self, connection: asyncpg.Connection, keys: Sequence[Key]
    ) -> dict[Key, tuple[bytes, Account | None, Position]]:
        """What the keys stored: no account when a key belongs to another kind of command."""
        found = await self._queries.find_keys(
            connection, clients=[client for client, _ in keys], keys=[key for _, key in keys]
        )
        ids = [row["outcome_id"] for row in found if row["figures"] is not None]
        accounts = await self._read(connection, ids) if ids else {}
        stored: dict[Key, tuple[bytes, Account | None, Position]] = {}
        for row in found:
            account = accounts.get(row["outcome_id"])
            position = Position(self._transactions.epoch, row["journal_xid"], row["journal_id"])
            if account is not None:
                account = _with_figures(account, json.loads(row["figures"]))
            stored[(row["client"], row["key"])] = (row["request_hash"], account, position)
        return stored

    async def _write_keys(
        self,
        connection: asyncpg.Connection,
        outcome: str,
        stored: Sequence[tuple[OpenAccount | ChangeStatus, Account]],
        journal_id: int,
    ) -> None:
        await self._queries.write_keys(
            connection,
            clients=[command.client for command, _ in stored],
            keys=[command.key for command, _ in stored],
            outcome=outcome,
            outcome_ids=[account.id for _, account in stored],
            hashes=[command.request_hash for command, _ in stored],
            figures=[json.dumps(_figures(account)) for _, account in stored],
            journal_id=journal_id,
        )

    def _replay(
        self,
        command: OpenAccount | ChangeStatus,
        stored_hash: bytes,
        account: Account | None,
        position: Position,
    ) -> AccountOutcome:
        if account is None or stored_hash != command.request_hash:
            return AccountRefused(key_reused(command.key))
        return self._outcome(command.client, account, position, replayed=True)

    def _outcome(
        self, client: str, account: Account, position: Position | None, *, replayed: bool
    ) -> AccountStored:
        return AccountStored(account, position, replayed, self.may_read(client, account))

    def may_read(self, client: str, account: Account) -> bool:
        """Whether `client` may see the account's figures."""
        return self._rules().grants.allows(
            client,
            GrantAction.READ,
            opened_by=account.opened_by,
            institution=account.institution,
        )


def _born(command: OpenAccount, account_id: AccountId, now_us: int) -> Account:
    return Account(
        id=account_id,
        kind=command.kind,
        status=AccountStatus.ACTIVE,
        currency=command.currency,
        owner=command.owner,
        institution=command.institution,
        opened_by=command.client,
        balance=Minor(0),
        held=Minor(0),
        overdraft_limit=command.overdraft_limit,
        version=0,
        revision=0,
        last_entry_us=0,
        created_at_us=now_us,
    )


_FIGURES = ("status", "balance", "held", "overdraft_limit", "version", "revision", "last_entry_us")


def _figures(account: Account) -> dict[str, Any]:
    """What of an account changes, as it stands now."""
    return {name: getattr(account, name) for name in _FIGURES}


def _with_figures(account: Account, figures: dict[str, Any]) -> Account:
    return account._replace(**{**figures, "status": AccountStatus(figures["status"])})
