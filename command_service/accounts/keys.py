"""What the keys of account commands stored, and how an outcome is shown again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg

from command_service.accounts.commands import (
    NO_METADATA,
    AccountCommand,
    AccountOutcome,
    AccountRefused,
    AccountStored,
    Metadata,
)
from command_service.posting import rows
from paycore.domain.accounts import Account, AccountId, AccountStatus
from paycore.domain.errors import key_reused
from paycore.domain.grants import GrantAction
from paycore.domain.plan import Key
from paycore.domain.position import Position
from paycore.domain.rules import Rules

_FIGURES = ("status", "balance", "held", "overdraft_limit", "version", "revision", "last_entry_us")


class Described(NamedTuple):
    """An account with what its client told of it."""

    account: Account
    metadata: Metadata = NO_METADATA


class Earlier(NamedTuple):
    """What a key stored: no account where it belongs to another kind of command."""

    request_hash: bytes
    found: Described | None
    position: Position


class AccountKeys:
    """Reads and writes the keys of account commands, within the caller's transaction."""

    def __init__(self, queries: Any, rules: Callable[[], Rules], epoch: Callable[[], int]) -> None:
        """`queries` are those of accounts.sql; `epoch` tells the history of new positions."""
        self._queries = queries
        self._rules = rules
        self._epoch = epoch

    async def describe(
        self, connection: asyncpg.Connection, ids: Sequence[AccountId]
    ) -> dict[AccountId, Described]:
        """Those of the accounts that exist, as they stand now."""
        found = await self._queries.read_accounts(connection, ids=ids)
        told = await self._queries.read_account_details(connection, ids=ids)
        metadata = {row["id"]: json.loads(row["metadata"]) for row in told}
        return {
            row["id"]: Described(rows.account(row), metadata.get(row["id"], NO_METADATA))
            for row in found
        }

    async def find(self, connection: asyncpg.Connection, keys: Sequence[Key]) -> dict[Key, Earlier]:
        """What the keys stored, each account as it stood then."""
        found = await self._queries.find_keys(
            connection, clients=[client for client, _ in keys], keys=[key for _, key in keys]
        )
        ids = [row["outcome_id"] for row in found if row["figures"] is not None]
        accounts = await self.describe(connection, ids) if ids else {}
        earlier: dict[Key, Earlier] = {}
        for row in found:
            described = accounts.get(row["outcome_id"])
            if described is not None:
                then = _with_figures(described.account, json.loads(row["figures"]))
                described = described._replace(account=then)
            position = Position(self._epoch(), row["journal_xid"], row["journal_id"])
            earlier[(row["client"], row["key"])] = Earlier(row["request_hash"], described, position)
        return earlier

    async def write(
        self,
        connection: asyncpg.Connection,
        kind: str,
        done: Sequence[tuple[AccountCommand, Account]],
        journal_id: int,
        now_us: int,
    ) -> int:
        """Store outcomes of `kind` under their keys and in the journal; returns its xid."""
        await self._queries.write_keys(
            connection,
            clients=[command.client for command, _ in done],
            keys=[command.key for command, _ in done],
            outcome=kind,
            outcome_ids=[account.id for _, account in done],
            hashes=[command.request_hash for command, _ in done],
            figures=[json.dumps(_figures(account)) for _, account in done],
            journal_id=journal_id,
        )
        xid: int = await self._queries.write_journal(
            connection,
            id=journal_id,
            created_us=now_us,
            accounts=[account.id for _, account in done],
        )
        return xid

    def replay(self, command: AccountCommand, earlier: Earlier) -> AccountOutcome:
        """The outcome that `command`'s key has already."""
        if earlier.found is None or earlier.request_hash != command.request_hash:
            return AccountRefused(key_reused(command.key))
        return self.outcome(command.client, earlier.found, earlier.position, replayed=True)

    def outcome(
        self, client: str, described: Described, position: Position | None, *, replayed: bool
    ) -> AccountStored:
        """`described` as `client` gets it."""
        readable = self.may_read(client, described.account)
        return AccountStored(*described, position, replayed, readable)

    def may_read(self, client: str, account: Account) -> bool:
        """Whether `client` may see the account's figures and metadata."""
        return self.allows(client, GrantAction.READ, account)

    def allows(self, client: str, action: GrantAction, account: Account) -> bool:
        """Whether a grant lets `client` do `action` on the account."""
        return self._rules().grants.allows(
            client, action, opened_by=account.opened_by, institution=account.institution
        )

    def may_link(self, client: str, scheme: str) -> bool:
        """Whether `client` was given names of `scheme` to link."""
        return self._rules().may_link(client, scheme)


def _figures(account: Account) -> dict[str, Any]:
    """What of an account changes, as it stands now."""
    return {name: getattr(account, name) for name in _FIGURES}


def _with_figures(account: Account, figures: Mapping[str, Any]) -> Account:
    return account._replace(**{**figures, "status": AccountStatus(figures["status"])})
