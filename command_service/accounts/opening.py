"""Opening accounts in bulk, each under its key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from command_service.accounts.acting import Acting, Asked, act_as
from command_service.accounts.commands import AccountOutcome, AccountRefused, OpenAccount
from command_service.accounts.keys import AccountKeys, Described
from paycore.domain.accounts import Account, AccountId, AccountStatus
from paycore.domain.errors import key_reused
from paycore.domain.money import Minor
from paycore.domain.plan import Key

_Opened = Mapping[Key, tuple[OpenAccount, Account]]


class AccountOpening:
    """Decides openings and writes them, within the caller's transaction."""

    def __init__(self, queries: Any, keys: AccountKeys) -> None:
        """`queries` are those of accounts.sql."""
        self._queries = queries
        self._keys = keys

    async def open(
        self,
        connection: asyncpg.Connection,
        commands: Sequence[OpenAccount],
        acting: Mapping[Asked, Acting],
        journal_id: int,
        ids: Sequence[int],
        now_us: int,
    ) -> tuple[list[AccountOutcome], int | None]:
        """The outcome of each command in order, and the journal's xid where any was opened.

        `acting` has those who are audited, `ids` are new ones, one for each command.
        """
        stored = await self._keys.find(connection, [(one.client, one.key) for one in commands])
        opened: dict[Key, tuple[OpenAccount, Account]] = {}
        outcomes: list[AccountOutcome] = []
        for command, new_id in zip(commands, ids, strict=True):
            key = (command.client, command.key)
            earlier = stored.get(key)
            if earlier is not None:
                outcomes.append(self._keys.replay(command, earlier))
                continue
            replayed = key in opened
            if not replayed:
                opened[key] = (command, _born(command, AccountId(new_id), now_us))
            first, account = opened[key]
            if first.request_hash != command.request_hash:
                outcomes.append(AccountRefused(key_reused(command.key)))
                continue
            described = Described(account, first.metadata)
            outcomes.append(self._keys.outcome(command.client, described, None, replayed=replayed))
        if not opened:
            return outcomes, None
        return outcomes, await self._write(connection, opened, acting, journal_id, now_us)

    async def _write(
        self,
        connection: asyncpg.Connection,
        opened: _Opened,
        acting: Mapping[Asked, Acting],
        journal_id: int,
        now_us: int,
    ) -> int:
        new = [opened[key] for key in sorted(opened)]
        for asked_by, accounts in _by_actor(new).items():
            if asked_by is not None:
                await act_as(self._queries, connection, acting[asked_by])
            await self._queries.open_accounts(
                connection,
                ids=[account.id for account in accounts],
                kinds=[account.kind for account in accounts],
                currencies=[account.currency for account in accounts],
                owners=[account.owner for account in accounts],
                institutions=[account.institution for account in accounts],
                opened_by=[account.opened_by for account in accounts],
                limits=[account.overdraft_limit for account in accounts],
                created_us=[account.created_at_us for account in accounts],
            )
        told = [(account.id, one.metadata) for one, account in new if one.metadata]
        if told:
            await self._queries.write_account_details(
                connection,
                ids=[account for account, _ in told],
                metadata=[json.dumps(dict(metadata)) for _, metadata in told],
            )
        return await self._keys.write(connection, "ACCOUNT", new, journal_id, now_us)


def audited(command: OpenAccount) -> Asked | None:
    """Who is audited for the opening; None where nothing is."""
    return (command.client, command.actor) if command.overdraft_limit else None


def _by_actor(
    new: Sequence[tuple[OpenAccount, Account]],
) -> dict[Asked | None, list[Account]]:
    """The accounts by who is audited for them."""
    grouped: dict[Asked | None, list[Account]] = {}
    for command, account in new:
        grouped.setdefault(audited(command), []).append(account)
    return grouped


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
